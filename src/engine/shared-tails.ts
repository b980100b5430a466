/** What of a row's next block other rows have, or are about to: in blocks a part of one may be copied. Knows no tensors. */

import { BLOCK_TOKENS } from "../models/block.ts";
import { type BlockStore, equalTokens } from "./block-store.ts";
import { isMoreUrgent, type Row } from "./row.ts";

// Copying a block costs about as much as computing a few tokens.
const COPY_TOKENS_MIN = 8;

/** Whether to wait: a more urgent row computes this row's next block, or all that is left of its prompt. */
export function isFollowing(row: Row, active: readonly Row[]): boolean {
  const tokens = Math.min(BLOCK_TOKENS, row.pending - 1);
  const alike = active.filter((other) => sharedTokens(row, other) >= tokens);
  const computed = alike.some((other) => other.length >= row.length + tokens);
  return !computed && tokens >= COPY_TOKENS_MIN && alike.some((other) => isMoreUrgent(other, row));
}

/** The block that begins most like the row's next, another row's or one that is published; null: none is worth a copy. */
export function nearestTail(
  row: Row,
  active: readonly Row[],
  store: BlockStore,
  mayServe: (block: number) => boolean,
): { from: number; tokens: number } | null {
  const index = row.blocks.length;
  const known = store.nearest(row.blocks[index - 1] ?? null, row.limits.root, row.tokensOf(index));
  let best =
    known !== null && mayServe(known.block) ? { from: known.block, tokens: known.tokens } : { from: 0, tokens: 0 };
  for (const other of active) {
    const from = other.blocks[index];
    const tokens = Math.min(sharedTokens(row, other), other.length - row.length);
    if (from !== undefined && tokens > best.tokens && mayServe(from)) best = { from, tokens };
  }
  const tokens = Math.min(best.tokens, row.pending - 1);
  return tokens < COPY_TOKENS_MIN ? null : { from: best.from, tokens };
}

/** How many tokens of the row's next block are another's too. Up to there both have the same blocks, or nothing is shared. */
function sharedTokens(row: Row, other: Row): number {
  const index = row.blocks.length;
  if (other === row || other.limits.root !== row.limits.root || other.blocks[index - 1] !== row.blocks[index - 1])
    return 0;
  return equalTokens(row.tokensOf(index), other.tokensOf(index));
}
