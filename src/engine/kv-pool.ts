/** Keys and values of every row of a model, in blocks that belong to nobody in particular. Knows no row and no schedule. */

import type { KvBits } from "../core/settings.ts";
import { evaluate, fromBytes, type MlxArray, memoryOf } from "../mlx/array.ts";
import { forget, hasExtras, reserve } from "../mlx/extras.ts";
import { concatenate, sliceUpdate, take, zeros } from "../mlx/ops.ts";
import { BLOCK_TOKENS } from "../models/block.ts";
import type { CacheShape } from "../models/family.ts";
import { packedItems, refuseUnevenGroups } from "../models/packed-cache.ts";
import type { LayerCache } from "../models/step.ts";

// A pool that cannot be reserved begins with this many blocks, and doubles.
const BLOCKS_MIN = 64;

export class KvPool implements Disposable {
  readonly layers: readonly LayerCache[];
  readonly #shape: CacheShape;
  readonly #bits: KvBits;
  readonly #blocks_max: number;
  #blocks: number;

  /**
   * Memory is taken as blocks are written, up to `blocks_max` of them. Throws a `Failure` when the bits do not fit the
   * shape.
   */
  constructor(shape: CacheShape, blocks_max: number, bits: KvBits = 32) {
    refuseUnevenGroups(shape, bits);
    this.#shape = shape;
    this.#bits = bits;
    this.#blocks_max = blocks_max;
    this.#blocks = hasExtras() ? blocks_max : Math.min(BLOCKS_MIN, blocks_max);
    this.layers = Array.from({ length: shape.layers }, () => blank(shape, this.#blocks, bits));
  }

  /** Makes room for `block`. */
  cover(block: number): void {
    if (block < this.#blocks) return;
    const blocks = Math.min(Math.max(2 * this.#blocks, block + 1), this.#blocks_max);
    for (const layer of this.layers) grow(layer, blank(this.#shape, blocks - this.#blocks, this.#bits));
    this.#blocks = blocks;
  }

  /** Copies whole blocks; none is read after it was written here. */
  copy(copies: readonly { readonly from: number; readonly to: number }[]): void {
    for (const { from, to } of copies) {
      this.cover(to); // its row may have no part in this step
      for (const layer of this.layers) {
        layer.keys = copyBlock(layer.keys, from, to);
        layer.values = copyBlock(layer.values, from, to);
      }
    }
  }

  /** Copies out all that a block holds: `bytes` are as many as `blockBytes`. */
  save(block: number, bytes: Uint8Array): void {
    for (const { offset, memory } of this.#memory(block)) bytes.set(memory, offset);
  }

  /** Puts back what was saved, into this block or another. */
  load(block: number, bytes: Uint8Array): void {
    this.cover(block);
    for (const { offset, memory } of this.#memory(block)) memory.set(bytes.subarray(offset, offset + memory.length));
  }

  /** Gives the memory of blocks that hold nothing back to the machine. */
  forget(blocks: readonly number[]): void {
    const held = Uint32Array.from(blocks.filter((block) => block < this.#blocks)).sort();
    const arrays = this.layers.flatMap(({ keys, values }) => [keys, values]);
    evaluate(...arrays);
    for (const array of arrays) forget(array, held, blockBytes(this.#shape, this.#bits) / arrays.length);
  }

  [Symbol.dispose](): void {
    for (const { keys, values } of this.layers) {
      keys[Symbol.dispose]();
      values[Symbol.dispose]();
    }
  }

  /** Where the block lies in each array, and where each of these lies in the bytes of the block. */
  #memory(block: number): { offset: number; memory: Uint8Array }[] {
    const arrays = this.layers.flatMap(({ keys, values }) => [keys, values]);
    evaluate(...arrays); // a step that failed may have left copies undone
    const bytes = blockBytes(this.#shape, this.#bits) / arrays.length;
    return arrays.map((array, index) => ({ offset: index * bytes, memory: memoryOf(array, block * bytes, bytes) }));
  }
}

/** Bytes of one block over all layers. */
export function blockBytes({ layers, kv_heads, head_dim }: CacheShape, bits: KvBits = 32): number {
  const head_bytes = bits === 32 ? 4 * head_dim * BLOCK_TOKENS : 2 * packedItems(head_dim, bits);
  return 2 * layers * kv_heads * head_bytes;
}

function blank({ kv_heads, head_dim }: CacheShape, blocks: number, bits: KvBits): LayerCache {
  const make = hasExtras() ? reserve : zeros;
  if (bits !== 32) {
    const shape = [blocks, kv_heads, packedItems(head_dim, bits)];
    return { keys: make(shape, "uint16"), values: make(shape, "uint16") };
  }
  return {
    keys: make([blocks, kv_heads, head_dim, BLOCK_TOKENS], "float32"),
    values: make([blocks, kv_heads, BLOCK_TOKENS, head_dim], "float32"),
  };
}

function grow(layer: LayerCache, more: LayerCache): void {
  using keys_before = layer.keys;
  using values_before = layer.values;
  using more_keys = more.keys;
  using more_values = more.values;
  layer.keys = concatenate([keys_before, more_keys], 0);
  layer.values = concatenate([values_before, more_values], 0);
  evaluate(layer.keys, layer.values);
}

/** In place: MLX writes where the old array was, as nobody else holds it. */
function copyBlock(pool: MlxArray, from: number, to: number): MlxArray {
  const [, ...rest] = pool.shape;
  using number = fromBytes(Int32Array.of(from), [1], "int32");
  using taken = take(pool, number, 0);
  evaluate(taken);
  using before = pool;
  const updated = sliceUpdate(before, taken, [to, ...rest.map(() => 0)], [to + 1, ...rest]);
  return updated;
}
