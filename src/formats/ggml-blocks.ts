/**
 * Turns ggml blocks (Q4_0, Q4_1, Q8_0) into MLX affine groups of 32 without loss, and puts rows in another order. Knows
 * no files.
 */

import { assert } from "../core/assert.ts";

export type RepackedType = "Q4_0" | "Q4_1" | "Q8_0";

/** A matrix of MLX affine groups: weight = scale * q + bias, q unsigned, element k of a group at bit k * bits. */
export interface AffineGroups {
  /** [rows, columns * bits / 32] */
  readonly packed: Uint32Array<ArrayBuffer>;
  /** [rows, columns / 32], the bits of half floats */
  readonly scales: Uint16Array<ArrayBuffer>;
  /** [rows, columns / 32], the bits of half floats */
  readonly biases: Uint16Array<ArrayBuffer>;
  readonly bits: 4 | 8;
}

/**
 * `bytes` holds rows * columns / 32 blocks. In float32 the groups give ggml's own values bit for bit, whether the sum is fused or not
 * (where a scale is so large that its offset is no half float, which no real weight needs, that is an infinity):
 * d * q is exact (11 bits times at most 8), so Q4_0 and Q8_0 are exact and Q4_1 rounds once, in its addition, as ggml does.
 * The one difference is the sign of a zero under a negative scale of Q4_0 or Q8_0. Scales that are not finite stay not finite.
 */
export function repack(
  type: RepackedType,
  bytes: Uint8Array<ArrayBuffer>,
  rows: number,
  columns: number,
): AffineGroups {
  assert(columns % GROUP === 0, `a row of ${columns} elements is a whole number of blocks`);
  const blocks = (rows * columns) / GROUP;
  const { block_bytes, bits, pack } = LAYOUTS[type];
  assert(bytes.byteLength === blocks * block_bytes, `${blocks} blocks of ${type} have ${bytes.byteLength} bytes`);
  const packed = new Uint32Array(blocks * bits);
  const scales = new Uint16Array(blocks);
  const biases = new Uint16Array(blocks);
  pack(aligned(bytes), packed, scales, biases);
  return { packed, scales, biases, bits };
}

export function isRepacked(type: string): type is RepackedType {
  return Object.hasOwn(LAYOUTS, type);
}

/**
 * GGUF's llama architecture stores the q and k rows of a head in pairs, [head, head_dim / 2, 2]; the model wants halves,
 * [head, 2, head_dim / 2]. Gives for each row of the model its row in the file (k has its own number of heads).
 */
export function unpairedRows(heads: number, head_dim: number): Uint32Array<ArrayBuffer> {
  assert(head_dim % 2 === 0, `a head of ${head_dim} rows has two halves`);
  const order = new Uint32Array(heads * head_dim);
  const half = head_dim / 2;
  for (let row = 0; row < order.length; row++) {
    const inside = row % head_dim;
    order[row] = row - inside + (inside % half) * 2 + Math.floor(inside / half);
  }
  return order;
}

type Rows = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/** The rows of a matrix in the given order. Works on raw blocks, packed words, scales and dense rows alike. */
export function takeRows<Matrix extends Rows>(matrix: Matrix, order: Uint32Array): Matrix {
  assert(matrix.length % order.length === 0, `${matrix.length} values make ${order.length} rows`);
  const width = matrix.length / order.length;
  const taken = matrix.slice() as Matrix;
  for (let row = 0; row < order.length; row++) {
    const from = (order[row] as number) * width;
    taken.set(matrix.subarray(from, from + width), row * width);
  }
  return taken;
}

/** Elements of a ggml block of these types, and of the MLX group made of it. */
const GROUP = 32;

/** Typed arrays read the machine's byte order; model files and every machine we run on are little-endian. */
assert(new Uint8Array(new Uint16Array([1]).buffer)[0] === 1, "this machine is little-endian");

/**
 * Half floats by their bits, times `factor`: exact but for overflow, as the factors are powers of two. Made when it is
 * needed, which takes some milliseconds of a start.
 */
function timesTable(factor: number): Uint16Array<ArrayBuffer> {
  const known = tables.get(factor);
  if (known !== undefined) return known;
  const halves = new Float16Array(new Uint16Array(65_536).map((_, bits) => bits).buffer);
  const table = new Uint16Array(halves.map((half) => half * factor).buffer);
  tables.set(factor, table);
  return table;
}

const tables = new Map<number, Uint16Array<ArrayBuffer>>();

// In the loops below the index is always inside the array: `as number` keeps the check of the compiler from costing time.
type Pack = (
  buffer: ArrayBuffer,
  packed: Uint32Array<ArrayBuffer>,
  scales: Uint16Array<ArrayBuffer>,
  biases: Uint16Array<ArrayBuffer>,
) => void;

/** Block: f16 d, 16 bytes; byte i holds element i (low) and 16 + i (high). weight = d * (q - 8). */
const packQ4Zero: Pack = (buffer, packed, scales, biases) => {
  const times_minus_8 = timesTable(-8);
  const halves = new Uint16Array(buffer);
  for (let block = 0; block < scales.length; block++) {
    const from = block * 9;
    const scale = halves[from] as number;
    scales[block] = scale;
    biases[block] = times_minus_8[scale] as number;
    const a = (halves[from + 1] as number) | ((halves[from + 2] as number) << 16);
    const b = (halves[from + 3] as number) | ((halves[from + 4] as number) << 16);
    const c = (halves[from + 5] as number) | ((halves[from + 6] as number) << 16);
    const d = (halves[from + 7] as number) | ((halves[from + 8] as number) << 16);
    packNibbles(packed, block * 4, a, b, c, d);
  }
};

/** Block: f16 d, f16 m, 16 bytes as in Q4_0. weight = d * q + m. */
const packQ4One: Pack = (buffer, packed, scales, biases) => {
  const words = new Uint32Array(buffer);
  for (let block = 0; block < scales.length; block++) {
    const from = block * 5;
    const head = words[from] as number;
    scales[block] = head & 0xffff;
    biases[block] = head >>> 16;
    const a = words[from + 1] as number;
    const b = words[from + 2] as number;
    const c = words[from + 3] as number;
    const d = words[from + 4] as number;
    packNibbles(packed, block * 4, a, b, c, d);
  }
};

/** Block: f16 d, 32 signed bytes. weight = d * q; with q + 128 the bytes are unsigned. */
const packQ8Zero: Pack = (buffer, packed, scales, biases) => {
  const times_minus_128 = timesTable(-128);
  const halves = new Uint16Array(buffer);
  for (let block = 0; block < scales.length; block++) {
    const from = block * 17;
    const scale = halves[from] as number;
    scales[block] = scale;
    biases[block] = times_minus_128[scale] as number;
    for (let word = 0; word < 8; word++) {
      const low = halves[from + 1 + word * 2] as number;
      const high = halves[from + 2 + word * 2] as number;
      packed[block * 8 + word] = (low | (high << 16)) ^ 0x80808080;
    }
  }
};

const LAYOUTS: Record<RepackedType, { block_bytes: number; bits: 4 | 8; pack: Pack }> = {
  Q4_0: { block_bytes: 18, bits: 4, pack: packQ4Zero },
  Q4_1: { block_bytes: 20, bits: 4, pack: packQ4One },
  Q8_0: { block_bytes: 34, bits: 8, pack: packQ8Zero },
};

/** Four words of byte pairs (element i low, 16 + i high) to four words of eight elements in order. */
function packNibbles(packed: Uint32Array, at: number, a: number, b: number, c: number, d: number): void {
  packed[at] = lowNibbles(a) | (lowNibbles(b) << 16);
  packed[at + 1] = lowNibbles(c) | (lowNibbles(d) << 16);
  packed[at + 2] = lowNibbles(a >>> 4) | (lowNibbles(b >>> 4) << 16);
  packed[at + 3] = lowNibbles(c >>> 4) | (lowNibbles(d >>> 4) << 16);
}

/** The low halves of four bytes, side by side in 16 bits. */
function lowNibbles(word: number): number {
  const spread = word & 0x0f0f0f0f;
  const pairs = (spread | (spread >>> 4)) & 0x00ff00ff;
  return (pairs | (pairs >>> 8)) & 0xffff;
}

/** A buffer that begins with `bytes` and ends with them: a copy only when they are part of a larger one. */
function aligned(bytes: Uint8Array<ArrayBuffer>): ArrayBuffer {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
}
