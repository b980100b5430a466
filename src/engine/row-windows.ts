/**
 * Which blocks of each row layers with a window still need: a row holds the windowed part of those in its sight, and goes
 * on from a prefix only where the part before its end is there. Knows rows and integers, no tensors.
 */

import { assert } from "../core/assert.ts";
import { BLOCK_TOKENS, blocksFor, rowSlots } from "../models/block.ts";
import type { BlockContent, BlockStore, BlockTier } from "./block-store.ts";
import type { Row } from "./row.ts";
import { WindowStore } from "./window-store.ts";

export interface WindowSettings {
  /** That a position sees, its own the last. */
  readonly positions: number;
  readonly slots_max: number;
  /** Kept for what they contain while no row sees them. */
  readonly cached_slots_max: number;
}

export class RowWindows {
  readonly #settings: WindowSettings;
  readonly #row_slots_max: number;
  readonly #slots: WindowStore;
  readonly #blocks: BlockStore;
  readonly #tier: BlockTier;

  /** `tier` is given slots in place of blocks. */
  constructor(settings: WindowSettings, chunk_tokens_max: number, blocks: BlockStore, tier: BlockTier) {
    this.#settings = settings;
    this.#row_slots_max = rowSlots(settings.positions, chunk_tokens_max);
    this.#blocks = blocks;
    this.#tier = tier;
    this.#slots = new WindowStore(settings.slots_max, (slot, block) => {
      const content = blocks.contentOf(block);
      if (content !== null) tier.evicted(slot, content);
    });
  }

  get free(): readonly number[] {
    return this.#slots.free;
  }

  promise(row: Row): void {
    row.slots_promised = Math.min(blocksFor(row.token_ids.length), this.#row_slots_max);
  }

  /** Slots that are available and promised to nobody. */
  spare(active: readonly Row[]): number {
    return active.reduce((spare, row) => spare - row.slots_owed, this.#slots.available);
  }

  /** For the block that the row has got last. */
  take(row: Row): void {
    const block = row.blocks.at(-1);
    assert(block !== undefined && row.seen.end === row.blocks.length - 1, "a row's blocks are taken in order");
    this.#slots.take(block);
    row.seen.end += 1;
  }

  has(block: number): boolean {
    return this.#slots.has(block);
  }

  hold(block: number): void {
    this.#slots.hold(block);
  }

  /** What no row sees stays if its block is known by its content. */
  letGo(block: number): void {
    this.#slots.release(block);
    if (!this.#slots.isHeld(block) && this.#blocks.contentOf(block) === null) this.#slots.drop(block);
  }

  /** Whether it holds what it sees of the blocks it has. */
  isSettled({ seen, blocks }: Row): boolean {
    return seen.end === blocks.length;
  }

  /**
   * Holds what is in sight behind the blocks the row has taken over, or steps back to where that is there: in memory, or
   * where the tier may restore some. Gives how many it did; the row is settled later when there are more.
   */
  settle(row: Row, restores_max: number): number {
    if (this.isSettled(row)) return 0;
    let end = row.blocks.length;
    while (end > 0 && !this.#isThere(row, end, restores_max > 0)) end--;
    this.#shorten(row, end);
    const start = this.#first(row.length);
    if (start < row.seen.start || start >= row.seen.end) {
      this.#pass(row, row.seen.end);
      row.seen = { start, end: start };
    }
    this.#pass(row, start);
    let restored = 0;
    for (; row.seen.end < end; row.seen.end++) {
      const kept = this.#holdKept(row);
      if (!kept && restored >= restores_max) break;
      if (!kept && !this.#restore(row)) {
        this.#shorten(row, 0); // a file was damaged: it is gone now
        break;
      }
      restored += kept ? 0 : 1;
    }
    return restored;
  }

  /** Lets go what the row's next token does not see. */
  pass(row: Row): void {
    this.#pass(row, this.#first(row.length));
  }

  /** The row has `known` in place of its own block. */
  published(block: number, known: number): void {
    if (block === known) return;
    if (this.#slots.has(known)) {
      this.#slots.hold(known);
      this.letGo(block);
    } else this.#slots.move(block, known);
  }

  leave(row: Row): void {
    this.#pass(row, row.seen.end);
    row.seen = { start: 0, end: 0 };
    row.slots_promised = 0;
  }

  /** The block's content is given up. */
  evicted(block: number, content: BlockContent): void {
    if (!this.#slots.has(block)) return;
    this.#tier.evicted(this.#slots.slotOf(block), content);
    this.#slots.drop(block);
  }

  slotOf(block: number): number {
    return this.#slots.slotOf(block);
  }

  /** The slots of the row's first `count` blocks; any number for those out of sight, which nobody reads. */
  table(row: Row, count: number): number[] {
    return row.blocks.slice(0, count).map((block, index) => (index < row.seen.start ? 0 : this.#slots.slotOf(block)));
  }

  /** Whether a row could go on from the end of these blocks of a text. */
  mayEnd(contents: readonly BlockContent[]): boolean {
    const seen = contents.slice(this.#first(contents.length * BLOCK_TOKENS));
    return seen.every((content) => this.#isKept(this.#blocks.find(content), content));
  }

  /** What no row sees, the last used first: slots in place of blocks. */
  cached(): { block: number; content: BlockContent }[] {
    return this.#slots.cached().flatMap(({ slot, block }) => {
      const content = this.#blocks.contentOf(block);
      return content === null ? [] : [{ block: slot, content }];
    });
  }

  trim(count: number): void {
    this.#slots.trim(count, this.#settings.cached_slots_max);
  }

  checkIntegrity(active: readonly Row[]): void {
    this.#slots.checkIntegrity(active.flatMap((row) => row.blocks.slice(row.seen.start, row.seen.end)));
    assert(this.spare(active) >= 0, "every promised slot can be taken");
    for (const { seen, blocks, length } of active) {
      assert(seen.end <= blocks.length && seen.start <= this.#first(length), "a row holds what it sees");
    }
  }

  /** The first block that a token at this position sees. */
  #first(position: number): number {
    return Math.floor(Math.max(0, position + 1 - this.#settings.positions) / BLOCK_TOKENS);
  }

  #isThere(row: Row, end: number, restores: boolean): boolean {
    for (let index = this.#first(end * BLOCK_TOKENS); index < end; index++) {
      if (index >= row.seen.start && index < row.seen.end) continue;
      const content = restores ? row.content(index) : null;
      if (!this.#isKept(row.blocks[index] ?? null, content)) return false;
    }
    return true;
  }

  #isKept(block: number | null, content: BlockContent | null): boolean {
    return (block !== null && this.#slots.has(block)) || (content !== null && this.#tier.has(content));
  }

  /** The next block it is to see, if that is in memory. */
  #holdKept({ blocks, seen }: Row): boolean {
    const block = blocks[seen.end];
    if (block === undefined || !this.#slots.has(block)) return false;
    this.#slots.hold(block);
    return true;
  }

  #restore(row: Row): boolean {
    const block = row.blocks[row.seen.end];
    const content = row.content(row.seen.end);
    assert(block !== undefined && content !== null, "what a row takes over is known");
    this.#slots.take(block);
    if (this.#tier.restore(this.#slots.slotOf(block), content, 0)) return true;
    this.#slots.release(block);
    this.#slots.drop(block);
    return false;
  }

  #pass(row: Row, start: number): void {
    for (; row.seen.start < Math.min(start, row.seen.end); row.seen.start++) {
      const block = row.blocks[row.seen.start];
      assert(block !== undefined, "what a row sees is in its blocks");
      this.letGo(block);
    }
  }

  #shorten(row: Row, end: number): void {
    if (end < row.seen.end) {
      this.#pass(row, row.seen.end);
      row.seen = { start: 0, end: 0 };
    }
    for (const block of row.blocks.splice(end).reverse()) this.#blocks.release(block);
    row.length = Math.min(row.length, end * BLOCK_TOKENS);
  }
}

/** A tier of whole blocks; what they have in windows is given up with them. */
export function tellingWindows(tier: BlockTier, windows: () => RowWindows | null): BlockTier {
  return {
    evicted(block, content) {
      windows()?.evicted(block, content);
      tier.evicted(block, content);
    },
    pieces: tier.pieces,
    prepare: (block, content) => tier.prepare(block, content),
    restore: (block, content, piece) => tier.restore(block, content, piece),
    has: (content) => tier.has(content),
  };
}
