/**
 * Where layers that see a window keep their part of a block: in slots, of which there may be fewer than blocks. Those
 * that nobody holds stay until another needs them. Counts integers; knows no tensors and no rows.
 */

import { assert } from "../core/assert.ts";

interface Slot {
  readonly slot: number;
  holders: number;
}

export class WindowStore {
  readonly slots_max: number;
  readonly #evicted: (slot: number, block: number) => void;
  readonly #free: number[];
  /** By block; of those that nobody holds the last released is the last. */
  readonly #slots = new Map<number, Slot>();
  #held = 0;

  /** `evicted` is told of what is given up for another, while it is still there. */
  constructor(slots_max: number, evicted: (slot: number, block: number) => void) {
    this.slots_max = slots_max;
    this.#evicted = evicted;
    this.#free = Array.from({ length: slots_max }, (_, index) => slots_max - 1 - index);
  }

  /** Slots that can be taken. */
  get available(): number {
    return this.slots_max - this.#held;
  }

  /** Slots that hold nothing. */
  get free(): readonly number[] {
    return this.#free;
  }

  has(block: number): boolean {
    return this.#slots.has(block);
  }

  isHeld(block: number): boolean {
    return (this.#slots.get(block)?.holders ?? 0) > 0;
  }

  slotOf(block: number): number {
    return this.#entry(block).slot;
  }

  /** A slot for a block that has none, held once. */
  take(block: number): void {
    assert(!this.#slots.has(block), "a block has one slot");
    if (this.#free.length === 0) this.#evictOldest();
    const slot = this.#free.pop();
    assert(slot !== undefined, "a slot is taken only where one is available");
    this.#slots.set(block, { slot, holders: 1 });
    this.#held += 1;
  }

  hold(block: number): void {
    const entry = this.#entry(block);
    if (entry.holders === 0) this.#held += 1;
    entry.holders += 1;
  }

  release(block: number): void {
    const entry = this.#entry(block);
    assert(entry.holders > 0, "a released slot was held");
    entry.holders -= 1;
    if (entry.holders > 0) return;
    this.#held -= 1;
    this.#slots.delete(block);
    this.#slots.set(block, entry);
  }

  /** The slot is another block's from now on, with all who hold it. */
  move(from: number, to: number): void {
    const entry = this.#entry(from);
    assert(!this.#slots.has(to), "a block has one slot");
    this.#slots.delete(from);
    this.#slots.set(to, entry);
  }

  /** What the block held is of no use any more. */
  drop(block: number): void {
    const entry = this.#slots.get(block);
    if (entry === undefined) return;
    assert(entry.holders === 0, "what is dropped is held by nobody");
    this.#slots.delete(block);
    this.#free.push(entry.slot);
  }

  /** What nobody holds, the last released first. */
  cached(): { slot: number; block: number }[] {
    return [...this.#slots]
      .filter(([, { holders }]) => holders === 0)
      .map(([block, { slot }]) => ({ block, slot }))
      .reverse();
  }

  /** Gives up to `count` of what is cached beyond `cached_max`. */
  trim(count: number, cached_max: number): void {
    for (let done = 0; done < count && this.#slots.size - this.#held > cached_max; done++) this.#evictOldest();
  }

  /** `held` are the blocks of all holders, one for each hold. */
  checkIntegrity(held: readonly number[]): void {
    const holders = new Map<number, number>();
    for (const block of held) holders.set(block, (holders.get(block) ?? 0) + 1);
    for (const [block, entry] of this.#slots)
      assert(entry.holders === (holders.get(block) ?? 0), `the slot of block ${block} has the holders of the rows`);
    for (const block of holders.keys()) assert(this.#slots.has(block), `block ${block} has the slot that is held`);
    assert(this.#held === holders.size, "held slots are counted");
    const slots = new Set([...this.#free, ...[...this.#slots.values()].map(({ slot }) => slot)]);
    assert(slots.size === this.slots_max, "a slot is free or a block's");
    assert(this.#free.length + this.#slots.size === this.slots_max, "a slot is free or one block's");
  }

  #evictOldest(): void {
    for (const [block, { slot, holders }] of this.#slots) {
      if (holders > 0) continue;
      this.#evicted(slot, block);
      this.drop(block);
      return;
    }
  }

  #entry(block: number): Slot {
    const entry = this.#slots.get(block);
    assert(entry !== undefined, "the block has a slot");
    return entry;
  }
}
