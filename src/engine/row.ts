/** One sequence in the batch: its tokens and the blocks that hold them. Knows nothing of other rows. */

import { assert } from "../core/assert.ts";
import type { Predicted, RowFinish } from "../core/generation.ts";
import type { Urgency } from "../core/priority.ts";
import { BLOCK_TOKENS } from "../models/block.ts";
import { type BlockContent, chainHash } from "./block-store.ts";
import { Drafter } from "./drafter.ts";
import type { Part } from "./plan.ts";
import { CHUNK_TOKENS_MIN } from "./step-cost.ts";

export interface RowLimits {
  readonly tokens_max: number;
  /** A row ends when one of these is drawn; that token is not reported. */
  readonly stop_token_ids: ReadonlySet<number>;
  readonly urgency: Urgency;
  /** What beside its tokens decides what its blocks hold: the key of its adapter, or nothing. */
  readonly root: string;
  /** Whether it is told how likely each token of the prompt was: then every one of them is computed. */
  readonly scores_prompt: boolean;
  /** Whether the row's next tokens may be guessed and verified together. */
  readonly drafts: boolean;
  /** What its answer is expected to be: guesses of its next tokens too. */
  readonly predicted_ids?: readonly number[];
}

export const NO_GUESSES = { drafts: false, predicted_ids: [] } as const;

/** What was drawn, as far as it is part of the answer. */
export interface Drawn {
  readonly token_ids: readonly number[];
  readonly finish: RowFinish | null;
  readonly predicted?: Predicted | undefined;
}

export class Row {
  readonly id: number;
  readonly limits: RowLimits;
  /** Lower goes first, `order` among equals. */
  readonly rank: { readonly ms: number; readonly order: number };
  readonly prompt_tokens: number;
  /** The prompt, then what was drawn. */
  readonly token_ids: number[];
  readonly drafter: Drafter | null;
  readonly #chain_hashes: string[] = [];
  /** The block table: the row's positions in order, 32 to a block. */
  blocks: number[] = [];
  /** Tokens whose keys and values are in the blocks. */
  length = 0;
  /** Blocks the row was promised when it became active. */
  blocks_promised = 0;
  /** Of the blocks, those it holds a slot of too, as they are in sight of layers with a window. */
  seen = { start: 0, end: 0 };
  slots_promised = 0;
  drawn = 0;
  prompt_tokens_computed = 0;
  /** Prompt tokens from the second on whose likelihood was told. */
  scored = 0;

  constructor(id: number, prompt_ids: readonly number[], limits: RowLimits, rank: Row["rank"]) {
    this.id = id;
    this.limits = limits;
    this.rank = rank;
    this.prompt_tokens = prompt_ids.length;
    this.token_ids = [...prompt_ids];
    const { drafts, predicted_ids = [] } = limits;
    this.drafter = drafts || predicted_ids.length > 0 ? new Drafter(predicted_ids, drafts) : null;
  }

  /** What has become of its prediction, where it has one. */
  get predicted(): Predicted | undefined {
    return this.drafter?.predicted;
  }

  /** Tokens that may come next: at most `own_max`, or `predicted_max` where its answer is predicted. */
  guess(bounds: { readonly own_max: number; readonly predicted_max: number }, acceptance_min: number): number[] {
    const { own_max, predicted_max } = bounds;
    const most = this.predicted === undefined ? own_max : Math.max(own_max, predicted_max);
    const count_max = Math.min(this.limits.tokens_max - this.drawn - 1, most);
    return this.drafter?.propose(this.token_ids, count_max, acceptance_min, this.drawn) ?? [];
  }

  /** Tokens not yet in the blocks: 1 when the row only waits for its next draw, more while it reads its prompt. */
  get pending(): number {
    return this.token_ids.length - this.length;
  }

  /** Promised blocks it has not taken yet. */
  get blocks_owed(): number {
    return Math.max(0, this.blocks_promised - this.blocks.length);
  }

  /** The end of the last whole block that others with the same text could go on from: one token is left to compute. */
  get last_boundary(): number {
    return wholeBlocks(this.token_ids.length - 1);
  }

  /** The same of its prompt alone: the next prompt of a talk begins with this one. */
  get prompt_boundary(): number {
    return wholeBlocks(this.prompt_tokens - 1);
  }

  get slots_owed(): number {
    return Math.max(0, this.slots_promised - (this.seen.end - this.seen.start));
  }

  get atBlockStart(): boolean {
    return this.length % BLOCK_TOKENS === 0;
  }

  /** What block `index` holds once full, or null when the row has not so many tokens. Asked of one block after another. */
  content(index: number): BlockContent | null {
    const token_ids = this.tokensOf(index);
    if (token_ids.length < BLOCK_TOKENS) return null;
    const { root } = this.limits;
    const before = index === 0 ? root : this.#chain_hashes[index - 1];
    assert(before !== undefined, "the blocks of a row are named in order");
    const chain_hash = this.#chain_hashes[index] ?? chainHash(before, token_ids);
    this.#chain_hashes[index] = chain_hash;
    return { parent: this.blocks[index - 1] ?? null, root, token_ids, chain_hash };
  }

  /** A chunk within a prompt ends with a block if it can, since full blocks can be shared, or in the middle of one. */
  chunkEnd(budget: number): number {
    const end = this.length + budget;
    if (end >= this.token_ids.length) return this.token_ids.length;
    const whole = wholeBlocks(end);
    return whole > this.length ? whole : end - (end % CHUNK_TOKENS_MIN);
  }

  /** Of the next `count` tokens, those before prompt tokens whose likelihood is wanted and was not told before. */
  scoredBy(count: number): Part["scored"] {
    const from = Math.max(this.length, this.scored); // a row that waited again in between tells nothing twice
    const end = Math.min(this.length + count, this.prompt_tokens - 1);
    if (!this.limits.scores_prompt || from >= end) return undefined;
    return { from: from - this.length, token_ids: this.token_ids.slice(from + 1, end + 1) };
  }

  /** Appends what was drawn until the row ends. */
  draw(drawn_ids: readonly number[]): Drawn {
    const token_ids: number[] = [];
    for (const token of drawn_ids) {
      this.drawn += 1;
      if (this.limits.stop_token_ids.has(token)) return { token_ids, finish: "stop" };
      this.token_ids.push(token);
      token_ids.push(token);
      if (this.drawn >= this.limits.tokens_max) return { token_ids, finish: "length" };
    }
    return { token_ids, finish: null };
  }

  tokensOf(index: number): number[] {
    return this.token_ids.slice(index * BLOCK_TOKENS, (index + 1) * BLOCK_TOKENS);
  }
}

/** So many of the tokens as fill blocks. */
export function wholeBlocks(tokens: number): number {
  return tokens - (tokens % BLOCK_TOKENS);
}

export function isMoreUrgent({ rank: left }: Row, { rank: right }: Row): boolean {
  return left.ms < right.ms || (left.ms === right.ms && left.order < right.order);
}

export function insertByRank(rows: Row[], row: Row): void {
  const behind = rows.findIndex((other) => isMoreUrgent(row, other));
  rows.splice(behind < 0 ? rows.length : behind, 0, row);
}
