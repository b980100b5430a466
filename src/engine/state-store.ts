/**
 * Which slots hold the states of recurrent layers: of rows, or kept for the end of a published block. A state is never
 * changed: a row steps from one slot to another, so many may go on from the same. Counts integers; knows no tensors and no rows.
 */

import { assert } from "../core/assert.ts";
import type { BlockContent, BlockTier } from "./block-store.ts";

interface Kept {
  readonly slot: number;
  readonly content: BlockContent;
  /** Whether a row has gone on from it. */
  is_used: boolean;
}

/** A state of which the tier has given so many pieces, in a slot that is held. */
export interface Restored {
  readonly slot: number;
  readonly content: BlockContent;
  readonly pieces: number;
  /** Then it is kept. */
  readonly is_whole: boolean;
}

/** A slot is free, or held by rows, or kept, or both of these. */
export class StateStore {
  readonly slots_max: number;
  /** One is kept for so many blocks of a text. */
  readonly blocks_per_state: number;
  readonly #tier: BlockTier;
  readonly #free: number[];
  /** How many rows hold each slot. */
  readonly #holders: number[];
  /** By the chain's hash up to the block, the least recently used first. */
  readonly #kept = new Map<string, Kept>();
  readonly #kept_slots = new Set<number>();

  constructor(slots_max: number, blocks_per_state: number, tier: BlockTier) {
    this.slots_max = slots_max;
    this.blocks_per_state = blocks_per_state;
    this.#tier = tier;
    this.#free = Array.from({ length: slots_max }, (_, index) => slots_max - 1 - index);
    this.#holders = new Array(slots_max).fill(0);
  }

  get counts(): { readonly free: number; readonly kept: number } {
    return { free: this.#free.length, kept: this.#kept.size };
  }

  /** Slots that hold nothing. */
  get free(): readonly number[] {
    return this.#free;
  }

  /** A slot to write to, held once; at the price of the kept state least recently used. */
  take(): number {
    if (this.#free.length === 0) this.#evictOldest();
    const slot = this.#free.pop();
    assert(slot !== undefined, "rows hold no more states than there are slots for");
    this.#holders[slot] = 1;
    return slot;
  }

  release(slot: number): void {
    const holders = this.#holdersOf(slot) - 1;
    assert(holders >= 0, "a released state was held");
    this.#holders[slot] = holders;
    if (holders === 0 && !this.#kept_slots.has(slot)) this.#free.push(slot);
  }

  /** Keeps a held state behind the content of a published block; false when there is one already. */
  keep(content: BlockContent, slot: number): boolean {
    if (this.#kept.has(content.chain_hash)) return false;
    assert(this.#holdersOf(slot) > 0 && !this.#kept_slots.has(slot), "a state is kept once, by who holds it");
    this.#kept.set(content.chain_hash, { slot, content, is_used: false });
    this.#kept_slots.add(slot);
    return true;
  }

  /** Whether it is there, or the tier says that it has it. */
  has(content: BlockContent): boolean {
    return this.#kept.has(content.chain_hash) || this.#tier.has(content);
  }

  /** Finds and holds. */
  hold({ chain_hash }: BlockContent): number | null {
    const kept = this.#kept.get(chain_hash);
    if (kept === undefined) return null;
    this.#kept.delete(chain_hash);
    this.#kept.set(chain_hash, { ...kept, is_used: true });
    this.#holders[kept.slot] = this.#holdersOf(kept.slot) + 1;
    return kept.slot;
  }

  /** Has the tier fill the next piece of a state, in a slot of its own from the first on; null when the tier cannot. */
  restore(content: BlockContent, begun: Restored | null): Restored | null {
    if (!this.#tier.has(content)) return null;
    const { slot, pieces } = begun ?? { slot: this.take(), pieces: 0 };
    if (this.#tier.restore(slot, content, pieces)) {
      const is_whole = pieces + 1 === this.#tier.pieces;
      if (is_whole) this.keep(content, slot);
      return { slot, content, pieces: pieces + 1, is_whole };
    }
    if (begun === null) this.release(slot);
    return null;
  }

  /** Keeps it no longer, if nobody has gone on from it. */
  dropUnused({ chain_hash }: BlockContent): void {
    const kept = this.#kept.get(chain_hash);
    if (kept !== undefined && !kept.is_used) this.#drop(kept);
  }

  /** Keeps it no longer, as its block is given up; the tier has it from now on, if there is one. */
  evict({ chain_hash }: BlockContent): void {
    const kept = this.#kept.get(chain_hash);
    if (kept === undefined) return;
    this.#tier.evicted(kept.slot, kept.content);
    this.#drop(kept);
  }

  /** Where no slot is free, has the tier take a piece of the state that goes next: a large one is long to take at once. */
  prepare(): void {
    const oldest = this.#free.length === 0 ? this.#oldest() : undefined;
    if (oldest !== undefined) this.#tier.prepare(oldest.slot, oldest.content);
  }

  /** What is kept, the last used first: slots in place of blocks. */
  cached(): { block: number; content: BlockContent }[] {
    return [...this.#kept.values()].reverse().map(({ slot, content }) => ({ block: slot, content }));
  }

  /** `held` are the slots of all rows. */
  checkIntegrity(held: readonly number[], isPublished: (content: BlockContent) => boolean): void {
    const holders = new Array<number>(this.slots_max).fill(0);
    for (const slot of held) holders[slot] = (holders[slot] ?? 0) + 1;
    const free = new Set(this.#free);
    assert(free.size === this.#free.length, "a slot is free once");
    for (let slot = 0; slot < this.slots_max; slot++) {
      assert(this.#holdersOf(slot) === holders[slot], `slot ${slot} has the holders of the rows`);
      const is_needed = this.#holdersOf(slot) > 0 || this.#kept_slots.has(slot);
      assert(free.has(slot) === !is_needed, `slot ${slot} is free when nobody needs it`);
    }
    assert(this.#kept_slots.size === this.#kept.size, "a kept state has a slot of its own");
    for (const { slot, content } of this.#kept.values()) {
      assert(this.#kept_slots.has(slot), `slot ${slot} is known to be kept`);
      assert(isPublished(content), `the block before the state in slot ${slot} is published`);
    }
  }

  #evictOldest(): void {
    const oldest = this.#oldest();
    if (oldest !== undefined) this.evict(oldest.content);
  }

  /** Of those that no row holds. */
  #oldest(): Kept | undefined {
    return this.#kept.values().find(({ slot }) => this.#holdersOf(slot) === 0);
  }

  #drop({ slot, content }: Kept): void {
    this.#kept.delete(content.chain_hash);
    this.#kept_slots.delete(slot);
    if (this.#holdersOf(slot) === 0) this.#free.push(slot);
  }

  #holdersOf(slot: number): number {
    const holders = this.#holders[slot];
    assert(holders !== undefined, "a slot's number is in the store");
    return holders;
  }
}
