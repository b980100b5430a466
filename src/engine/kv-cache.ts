/** Keys and values of one row, a buffer a layer that grows in steps and is written in place. Knows no model and no schedule. */

import { assert } from "../core/assert.ts";
import { evaluate, type MlxArray } from "../mlx/array.ts";
import { concatenate, slice, sliceUpdate, zeros } from "../mlx/ops.ts";
import type { Cache, CacheShape } from "../models/family.ts";

// Tokens a buffer grows by: rarely copied, and a short talk does not pay for a long one.
const CAPACITY_STEP = 256;

interface LayerBuffer {
  /** (1, kv_heads, capacity, head_dim) */
  keys: MlxArray;
  values: MlxArray;
}

export class KvCache implements Cache, Disposable {
  readonly #shape: CacheShape;
  readonly #layers: (LayerBuffer | undefined)[];
  #length = 0;

  constructor(shape: CacheShape) {
    this.#shape = shape;
    this.#layers = new Array(shape.layers);
  }

  get length(): number {
    return this.#length;
  }

  extend(layer: number, keys: MlxArray, values: MlxArray): { keys: MlxArray; values: MlxArray } {
    const start = this.#length;
    const stop = start + (keys.shape[2] ?? 0);
    const buffer = this.#withCapacity(layer, stop, keys);
    buffer.keys = this.#write(buffer.keys, keys, start, stop);
    buffer.values = this.#write(buffer.values, values, start, stop);
    return { keys: this.#read(buffer.keys, stop), values: this.#read(buffer.values, stop) };
  }

  /** Counts tokens that every layer was extended by. */
  advance(tokens: number): void {
    this.#length += tokens;
  }

  /** Computes what was written, for a chunk whose logits nobody reads. */
  evaluate(): void {
    evaluate(...this.#layers.flatMap((buffer) => (buffer === undefined ? [] : [buffer.keys, buffer.values])));
  }

  [Symbol.dispose](): void {
    for (const buffer of this.#layers) {
      buffer?.keys[Symbol.dispose]();
      buffer?.values[Symbol.dispose]();
    }
    this.#layers.length = 0;
  }

  #withCapacity(layer: number, tokens: number, like: MlxArray): LayerBuffer {
    assert(layer < this.#shape.layers, "a model extends only its own layers");
    const buffer = this.#layers[layer];
    const capacity = buffer?.keys.shape[2] ?? 0;
    if (buffer !== undefined && tokens <= capacity) return buffer;
    const missing = Math.ceil((tokens - capacity) / CAPACITY_STEP) * CAPACITY_STEP;
    const shape = [1, this.#shape.kv_heads, missing, this.#shape.head_dim];
    const grown = {
      keys: grow(buffer?.keys, zeros(shape, like.dtype)),
      values: grow(buffer?.values, zeros(shape, like.dtype)),
    };
    this.#layers[layer] = grown;
    return grown;
  }

  /** MLX writes in place because the old buffer has no other holder once it is freed here. */
  #write(buffer: MlxArray, update: MlxArray, start: number, stop: number): MlxArray {
    using before = buffer;
    const { kv_heads, head_dim } = this.#shape;
    return sliceUpdate(before, update, [0, 0, start, 0], [1, kv_heads, stop, head_dim]);
  }

  #read(buffer: MlxArray, stop: number): MlxArray {
    const { kv_heads, head_dim } = this.#shape;
    return slice(buffer, [0, 0, 0, 0], [1, kv_heads, stop, head_dim]);
  }
}

/** `before` with `more` behind it; both are given up. */
function grow(before: MlxArray | undefined, more: MlxArray): MlxArray {
  if (before === undefined) return more;
  using head = before;
  using tail = more;
  return concatenate([head, tail], 2);
}
