/**
 * What the recurrent layers of one row keep: the slot it steps from and the one it steps to, and which of the states behind
 * its blocks stay for others. Counts integers; knows no tensors and no other rows.
 */

import { assert } from "../core/assert.ts";
import type { StateMove } from "../models/step.ts";
import type { BlockContent } from "./block-store.ts";
import type { Restored, StateStore } from "./state-store.ts";

export class RowStates {
  readonly #store: StateStore;
  /** null at the start of a text. */
  #slot: number | null = null;
  /** Of the step that is planned. */
  #next: number | null = null;
  /** Of a state that comes in pieces. */
  #coming: Restored | null = null;
  /** Tokens whose trace the slot holds. */
  length = 0;
  /** The end of what blocks hold of the row's text: others parted there, so a state is of use. */
  known_end = 0;
  /** Blocks behind which the last state that stays was kept. */
  #staying = 0;
  /** A state that stays only until the next, unless it is far enough behind the last that does. */
  #passing: { readonly content: BlockContent; readonly blocks: number } | null = null;

  constructor(store: StateStore) {
    this.#store = store;
  }

  get slots(): readonly number[] {
    return [this.#slot, this.#next, this.#coming?.slot ?? null].filter((slot) => slot !== null);
  }

  /** For a part that is planned. */
  move(): StateMove {
    this.#next ??= this.#store.take();
    return { from: this.#slot, to: this.#next };
  }

  /** The part went through, and the row has `length` tokens. */
  settle(length: number): void {
    assert(this.#next !== null, "a row that stepped had a slot to step to");
    if (this.#slot !== null) this.#store.release(this.#slot);
    this.#slot = this.#next;
    this.#next = null;
    this.length = length;
  }

  /** Keeps the state at the end of the row's last block; `stays`: others may well part there. */
  keep(content: BlockContent, blocks: number, stays: boolean): void {
    assert(this.#slot !== null, "a row that stepped has a state");
    if (this.#passing !== null) {
      if (this.#passing.blocks - this.#staying >= this.#store.blocks_per_state) this.#staying = this.#passing.blocks;
      else this.#store.dropUnused(this.#passing.content);
    }
    const is_new = this.#store.keep(content, this.#slot);
    this.#passing = is_new && !stays ? { content, blocks } : null;
    if (this.#passing === null) this.#staying = blocks;
  }

  /** Goes on from what is kept behind the content, of `length` tokens, once all its pieces came; null when it is not there. */
  resume(content: BlockContent, length: number, from_tier: boolean): "held" | "piece" | null {
    const held = this.#store.hold(content);
    if (held !== null) {
      this.#goOn(held, length);
      return "held";
    }
    if (!from_tier) return null;
    if (this.#coming?.content.chain_hash !== content.chain_hash) this.forgo();
    const coming = this.#store.restore(content, this.#coming);
    if (coming === null) return null; // what came is given back where the row falls back
    this.#coming = coming;
    if (coming.is_whole) {
      this.#coming = null;
      this.#goOn(coming.slot, length);
    }
    return "piece";
  }

  /** Has no use for the pieces that came. */
  forgo(): void {
    if (this.#coming !== null) this.#store.release(this.#coming.slot);
    this.#coming = null;
  }

  giveBack(): void {
    this.forgo();
    for (const slot of this.slots) this.#store.release(slot);
    this.#slot = null;
    this.#next = null;
    this.length = 0;
    this.known_end = 0;
    this.#staying = 0;
    this.#passing = null;
  }

  #goOn(slot: number, length: number): void {
    this.forgo();
    if (this.#slot !== null) this.#store.release(this.#slot);
    this.#slot = slot;
    this.length = length;
  }
}
