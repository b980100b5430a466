/**
 * Where rows of a model with recurrent layers may go on from, and where their parts end: what such layers keep is there only
 * where a part ended, and is not taken back. Knows rows and integers, no tensors.
 */

import { assert } from "../core/assert.ts";
import { BLOCK_TOKENS } from "../models/block.ts";
import { type BlockContent, type BlockStore, type BlockTier, equalTokens } from "./block-store.ts";
import { isMoreUrgent, type Row, wholeBlocks } from "./row.ts";
import { RowStates } from "./row-states.ts";
import { StateStore } from "./state-store.ts";

export interface StateSettings {
  /** Two for each row at least: the one it steps from and the one it steps to. */
  readonly slots_max: number;
  /** How many blocks a state serves that is kept. */
  readonly blocks_per_state: number;
}

export class Recurrence {
  /** Blocks that take as long to restore as a piece of a state. */
  readonly blocks_per_piece: number;
  readonly #blocks: BlockStore;
  readonly #states: StateStore;
  readonly #rows = new WeakMap<Row, RowStates>();

  /** `tier` is given slots in place of blocks. */
  constructor({ slots_max, blocks_per_state }: StateSettings, blocks: BlockStore, tier: BlockTier) {
    this.blocks_per_piece = Math.ceil(blocks_per_state / tier.pieces);
    this.#blocks = blocks;
    this.#states = new StateStore(slots_max, blocks_per_state, tier);
  }

  get free(): readonly number[] {
    return this.#states.free;
  }

  /** Once a step: a part of the work of giving up what goes next. */
  prepare(): void {
    this.#states.prepare();
  }

  /** What is kept, the last used first, slots in place of blocks. */
  cached(): ReturnType<BlockStore["cached"]> {
    return this.#states.cached();
  }

  /** Whether a row could go on from the end of these blocks of a text. */
  mayEnd(contents: readonly BlockContent[]): boolean {
    const last = contents.at(-1);
    return last !== undefined && this.#states.has(last);
  }

  /** For a part that is planned. */
  move(row: Row): ReturnType<RowStates["move"]> {
    return this.#of(row).move();
  }

  /** Whether the row's blocks are ahead of the state that is still to be brought: it cannot step. */
  isFetching(row: Row): boolean {
    return this.#of(row).length < row.length;
  }

  /** How far what is kept of the row's text reaches: the last end of a block with a state, and all blocks before it. */
  reach(row: Row): number {
    const states = this.#of(row);
    let end = states.length;
    let position = end;
    for (; position < row.last_boundary; position += BLOCK_TOKENS) {
      const content = row.content(position / BLOCK_TOKENS);
      if (content === null || !this.#blocks.has(content)) break;
      if (this.#states.has(content)) end = position + BLOCK_TOKENS;
    }
    states.known_end = position;
    return end;
  }

  /** Brings the state behind the row's blocks, if it is there; `restores`: a piece of it by way of the tier too. */
  resume(row: Row, restores: boolean): ReturnType<RowStates["resume"]> {
    const content = row.content(row.blocks.length - 1);
    assert(content !== null, "a row that fetches has whole blocks");
    return this.#of(row).resume(content, row.length, restores);
  }

  /** Gives back the row's blocks for which no state came. */
  fallBack(row: Row): void {
    this.#of(row).forgo();
    const end = this.#of(row).length;
    for (const block of row.blocks.splice(end / BLOCK_TOKENS).reverse()) this.#blocks.release(block);
    row.length = end;
  }

  /** Whether to wait: a more urgent row is about to leave a state that this row would come upon. */
  isFollowing(row: Row, active: readonly Row[]): boolean {
    return active.some((other) => {
      const boundary = Math.min(sharedBoundary(row, other), row.last_boundary);
      return isMoreUrgent(other, row) && other.length >= row.length && other.length < boundary;
    });
  }

  /** Where a part that could go on to `end` ends. */
  stopBefore(row: Row, end: number, active: readonly Row[]): number {
    return Math.min(end, ...this.#stops(row, active).filter((stop) => stop > row.length));
  }

  /** The row's part went through: what it left behind is kept if it is at the end of a block. */
  settle(row: Row, part_end: number, active: readonly Row[]): void {
    assert(row.length === part_end, "what recurrent layers keep is not taken back");
    const states = this.#of(row);
    states.settle(row.length);
    if (!row.atBlockStart) return;
    const blocks = row.length / BLOCK_TOKENS;
    const content = row.content(blocks - 1);
    assert(content !== null, "a full block has its tokens");
    if (this.#blocks.find(content) !== row.blocks[blocks - 1]) return; // private, after a collision of hashes
    states.keep(content, blocks, this.#stops(row, active).includes(row.length));
  }

  leave(row: Row): void {
    this.#of(row).giveBack();
  }

  /** The block's content is given up. */
  evicted(content: BlockContent): void {
    this.#states.evict(content);
  }

  checkIntegrity(active: readonly Row[]): void {
    const slots = active.flatMap((row) => this.#of(row).slots);
    this.#states.checkIntegrity(slots, (content) => this.#blocks.isPublished(content));
    for (const row of active) assert(this.#of(row).length <= row.length, "a row's state is of tokens in its blocks");
  }

  /**
   * Where others may well part from the row, or come to go on from: the end of what blocks hold of its text, where other rows'
   * texts part from it, the last whole block of its prompt.
   */
  #stops(row: Row, active: readonly Row[]): number[] {
    const parting = active.filter((other) => other !== row).map((other) => sharedBoundary(row, other));
    return [this.#of(row).known_end, row.prompt_boundary, ...parting];
  }

  #of(row: Row): RowStates {
    const known = this.#rows.get(row) ?? new RowStates(this.#states);
    this.#rows.set(row, known);
    return known;
  }
}

/** `tier`, of which rows' states are told too. */
export function tellingStates(tier: BlockTier, recurrence: () => Recurrence | null): BlockTier {
  return {
    evicted(block, content) {
      recurrence()?.evicted(content);
      tier.evicted(block, content);
    },
    pieces: tier.pieces,
    prepare: (block, content) => tier.prepare(block, content),
    restore: (block, content, piece) => tier.restore(block, content, piece),
    has: (content) => tier.has(content),
  };
}

/** How many tokens both have in common from the start, in whole blocks. */
function sharedBoundary(row: Row, other: Row): number {
  if (row.limits.root !== other.limits.root) return 0;
  return wholeBlocks(equalTokens(row.token_ids, other.token_ids));
}
