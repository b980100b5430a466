/** How the bytes of a model's cache are divided among blocks, states of rows and kept states. Pure: counts bytes, knows no tensors. */

export interface CacheUnits {
  /** Keys and values of one block. */
  readonly block_bytes: number;
  /** What recurrent layers keep of one sequence, whatever its length; 0: there are none. */
  readonly state_bytes: number;
}

export interface CacheShares {
  readonly blocks_max: number;
  readonly rows_max: number;
  /** States of rows, two of each: the one it steps from and the one it steps to. And those kept at the ends of blocks. */
  readonly states_max: number;
  /** A state is kept for so many blocks: then it takes no more than they do. */
  readonly blocks_per_state: number;
}

export const STATES_OF_ROW = 2;

/** One row can always run, and has a block, however few bytes there are. States of rows take half of them at most. */
export function divideCache(bytes: number, { block_bytes, state_bytes }: CacheUnits, rows_max: number): CacheShares {
  if (state_bytes === 0) {
    const blocks_max = Math.max(1, Math.floor(bytes / Math.max(1, block_bytes)));
    return { blocks_max, rows_max, states_max: 0, blocks_per_state: 1 };
  }
  const row_bytes = STATES_OF_ROW * state_bytes;
  const rows = Math.max(1, Math.min(rows_max, Math.floor(bytes / 2 / row_bytes)));
  const blocks_per_state = blocksPerState({ block_bytes, state_bytes });
  const left = bytes - rows * row_bytes;
  const blocks_max = Math.max(1, Math.floor(left / (block_bytes + state_bytes / blocks_per_state)));
  const kept = Math.floor(blocks_max / blocks_per_state);
  return { blocks_max, rows_max: rows, states_max: rows * STATES_OF_ROW + kept, blocks_per_state };
}

export interface WindowUnits {
  /** Keys and values of one block, in the layers that see all of a text. */
  readonly block_bytes: number;
  /** And in those that see a window of it. */
  readonly slot_bytes: number;
  /** Blocks of the longest text, and slots that a row needs of them at most. */
  readonly row_blocks: number;
  readonly row_slots: number;
}

// Where layers of both kinds are, so much of the memory at most is for windows: the rest makes long texts possible.
const WINDOW_SHARE = 1 / 2;

/** One row at least may finish, however few bytes there are. */
export function divideWindows(
  bytes: number,
  { block_bytes, slot_bytes, row_blocks, row_slots }: WindowUnits,
  rows_max: number,
): { blocks_max: number; slots_max: number } {
  const most = row_blocks * rows_max;
  const both = Math.min(Math.max(1, Math.floor(bytes / (block_bytes + slot_bytes))), most);
  if (both <= row_slots) return { blocks_max: both, slots_max: both };
  if (block_bytes === 0) return { blocks_max: most, slots_max: both };
  const share = Math.max(bytes * WINDOW_SHARE, bytes - most * block_bytes);
  const slots_max = Math.min(both, rows_max * row_slots, Math.max(row_slots, Math.floor(share / slot_bytes)));
  return { blocks_max: Math.min(most, Math.floor((bytes - slots_max * slot_bytes) / block_bytes)), slots_max };
}

/** Bytes in which `rows` rows of `blocks` blocks each have all that they see. */
export function windowBytes({ block_bytes, slot_bytes, row_slots }: WindowUnits, blocks: number, rows: number): number {
  return rows * (blocks * block_bytes + Math.min(blocks, row_slots) * slot_bytes);
}

/** Bytes without which `rows` rows of `blocks` blocks in all could not run, with the states that are kept of them. */
export function cacheBytes({ block_bytes, state_bytes }: CacheUnits, blocks: number, rows: number): number {
  const kept = state_bytes === 0 ? 0 : state_bytes / blocksPerState({ block_bytes, state_bytes });
  return Math.ceil(blocks * (block_bytes + kept) + rows * STATES_OF_ROW * state_bytes);
}

function blocksPerState({ block_bytes, state_bytes }: CacheUnits): number {
  return Math.max(1, Math.ceil(state_bytes / Math.max(1, block_bytes)));
}
