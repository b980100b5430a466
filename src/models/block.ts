/** The unit in which keys and values are kept and shared. */

/** Tokens in a block. */
export const BLOCK_TOKENS = 32;
