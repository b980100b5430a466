/** The MXFP4 blocks of ggml in the order of MLX's mxfp4: the same weights and scales, nothing is computed. Knows no files. */

import { assert } from "../core/assert.ts";

export interface Mxfp4Groups {
  /** Sixteen bytes a group, element k at bit 4k. */
  readonly packed: Uint8Array<ArrayBuffer>;
  /** One byte a group. */
  readonly scales: Uint8Array<ArrayBuffer>;
}

export function isMxfp4(type: string): boolean {
  return type === "MXFP4";
}

/** Block: the scale, then 16 bytes, of which byte i holds the elements i (low) and 16 + i (high). */
export function mxfp4Groups(blocks: Uint8Array): Mxfp4Groups {
  assert(blocks.length % BLOCK_BYTES === 0, `${blocks.length} bytes are whole blocks of MXFP4`);
  const count = blocks.length / BLOCK_BYTES;
  const packed = new Uint8Array(count * NIBBLE_BYTES);
  const scales = new Uint8Array(count);
  for (let block = 0; block < count; block++) {
    const from = block * BLOCK_BYTES;
    const to = block * NIBBLE_BYTES;
    scales[block] = blocks[from] as number;
    for (let pair = 0; pair < NIBBLE_BYTES / 2; pair++) {
      const even = blocks[from + 1 + 2 * pair] as number;
      const odd = blocks[from + 2 + 2 * pair] as number;
      packed[to + pair] = (even & 15) | ((odd & 15) << 4);
      packed[to + NIBBLE_BYTES / 2 + pair] = (even >> 4) | (odd & 0xf0);
    }
  }
  return { packed, scales };
}

const NIBBLE_BYTES = 16;
const BLOCK_BYTES = 1 + NIBBLE_BYTES;
