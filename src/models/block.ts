/** The unit in which keys and values are kept and shared. */

/** Tokens in a block. */
export const BLOCK_TOKENS = 32;

/** Blocks that so many tokens lie in. */
export function blocksFor(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

/** Blocks of a window that a row holds at most: what the first token of a chunk sees, and the chunk. */
export function rowSlots(positions: number, chunk_tokens_max: number): number {
  return blocksFor(positions - 1) + blocksFor(chunk_tokens_max) + 1;
}
