/** What every family of models gives and gets. Knows no family. */

import type { MlxArray } from "../mlx/array.ts";

/** `config.json`, or what a GGUF file says in its words. Checked field by field where a family reads it. */
export type ModelConfig = Readonly<Record<string, unknown>>;

/** Keys and values of one sequence, kept by the engine. */
export interface Cache {
  /** Tokens already kept. */
  readonly length: number;
  /**
   * Keeps `keys` and `values` (1, kv_heads, new, head_dim) of one layer behind the ones before,
   * and gives all of them (1, kv_heads, length + new, head_dim); the caller owns both.
   */
  extend(layer: number, keys: MlxArray, values: MlxArray): { keys: MlxArray; values: MlxArray };
}

export interface CacheShape {
  readonly layers: number;
  readonly kv_heads: number;
  readonly head_dim: number;
}

export interface Model extends Disposable {
  readonly cache_shape: CacheShape;
  /** Tokens, prompt and answer together. */
  readonly context_length: number;
  readonly vocabulary_size: number;
  readonly bytes_resident: number;
  /** `token_ids` (1, length) after what `cache` holds; the last position's logits (1, vocabulary_size), float32. */
  forward(token_ids: MlxArray, cache: Cache): MlxArray;
}
