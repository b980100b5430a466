/**
 * Keys and values in affine groups of 32, as native/attention.h lays them out, composed of ordinary operations: blocks of
 * (kv_heads, 2 · head_dim · (bits + 1)) halves of words, of which bits to each number and the rest its group's scale and bias.
 */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { KvBits } from "../core/settings.ts";
import type { MlxArray } from "../mlx/array.ts";
import { astype, dequantize, quantize, reshape, slice, sliceUpdate, view } from "../mlx/ops.ts";
import { BLOCK_TOKENS } from "./block.ts";
import type { CacheShape } from "./family.ts";
import type { Span } from "./step.ts";

/** Where the words, scales and biases of a head lie in its block: the numbers of one token, behind those of 32. */
interface Parts {
  readonly bits: number;
  readonly sizes: readonly [words: number, scales: number, biases: number];
}

export const GROUP = 32;
const HALVES = 2; // in a word

/** Items of one head in one block. */
export function packedItems(head_dim: number, bits: number): number {
  return HALVES * head_dim * (bits + 1);
}

/** Throws a `Failure` when the heads cannot be kept so. */
export function refuseUnevenGroups({ head_dim }: CacheShape, bits: KvBits): void {
  if (bits === 32 || head_dim % GROUP === 0) return;
  const state = `heads of whole groups of ${GROUP} are needed, found head_dim ${head_dim}`;
  throw new Failure("unsupported", `Cannot keep keys and values in ${bits} bits: ${state}`, "kv_bits");
}

export function isPacked(pool: MlxArray): boolean {
  return pool.dtype === "uint16";
}

/** The pool with (1, kv_heads, count, head_dim) in the span's blocks. */
export function writePacked(pool: MlxArray, vectors: MlxArray, { start, count, blocks }: Span): MlxArray {
  const [, kv_heads = 0, , head_dim = 0] = vectors.shape;
  const { bits, sizes } = partsOf(pool, head_dim);
  using stack = new DisposableStack();
  const [words, scales, biases] = quantize(vectors, { mode: "affine", group_size: GROUP, bits }).map((part) =>
    stack.use(part),
  );
  assert(words !== undefined && scales !== undefined && biases !== undefined, "affine groups have three parts");
  const halves = [words, stack.use(astype(scales, "float16")), stack.use(astype(biases, "float16"))].map((part) =>
    stack.use(view(part, "uint16")),
  );
  let written = pool;
  for (let done = 0; done < count; ) {
    const slot = (start + done) % BLOCK_TOKENS;
    const block = blocks[Math.floor((start + done) / BLOCK_TOKENS)] ?? 0;
    const some = Math.min(BLOCK_TOKENS - slot, count - done);
    let at = 0;
    for (const [index, part] of halves.entries()) {
      const size = sizes[index] ?? 0;
      using own = slice(part, [0, 0, done, 0], [1, kv_heads, done + some, size]);
      using flat = reshape(own, [1, kv_heads, some * size]);
      using before = written;
      const [from, to] = [at + slot * size, at + (slot + some) * size];
      written = sliceUpdate(before, flat, [block, 0, from], [block + 1, kv_heads, to]);
      at += BLOCK_TOKENS * size;
    }
    done += some;
  }
  return written;
}

/** Blocks (count, kv_heads, …) as floats (count, kv_heads, 32, head_dim). */
export function unpackBlocks(blocks: MlxArray, head_dim: number): MlxArray {
  const [count = 0, kv_heads = 0] = blocks.shape;
  const { bits, sizes } = partsOf(blocks, head_dim);
  using stack = new DisposableStack();
  let at = 0;
  const [words, scales, biases] = sizes.map((size, index) => {
    const own = stack.use(slice(blocks, [0, 0, at], [count, kv_heads, at + BLOCK_TOKENS * size]));
    at += BLOCK_TOKENS * size;
    const rows = stack.use(reshape(own, [count, kv_heads, BLOCK_TOKENS, size]));
    const stored = stack.use(view(rows, index === 0 ? "uint32" : "float16"));
    return index === 0 ? stored : stack.use(astype(stored, "float32"));
  });
  assert(words !== undefined && scales !== undefined && biases !== undefined, "affine groups have three parts");
  return dequantize(words, scales, biases, { mode: "affine", group_size: GROUP, bits });
}

function partsOf(pool: MlxArray, head_dim: number): Parts {
  const bits = (pool.shape[2] ?? 0) / (HALVES * head_dim) - 1;
  const groups = head_dim / GROUP;
  return { bits, sizes: [(HALVES * head_dim * bits) / 32, groups, groups] };
}
