/** One sequence in the batch: its tokens and the blocks that hold them. Knows nothing of other rows. */

import { assert } from "../core/assert.ts";
import type { Urgency } from "../core/priority.ts";
import { BLOCK_TOKENS } from "../models/block.ts";
import { type BlockContent, chainHash } from "./block-store.ts";
import { Drafter } from "./drafter.ts";

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
    this.drafter = limits.drafts ? new Drafter() : null;
  }

  /** Tokens not yet in the blocks: 1 when the row only waits for its next draw, more while it reads its prompt. */
  get pending(): number {
    return this.token_ids.length - this.length;
  }

  /** Promised blocks it has not taken yet. */
  get blocks_owed(): number {
    return Math.max(0, this.blocks_promised - this.blocks.length);
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

  tokensOf(index: number): number[] {
    return this.token_ids.slice(index * BLOCK_TOKENS, (index + 1) * BLOCK_TOKENS);
  }
}

export function blocksFor(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}
