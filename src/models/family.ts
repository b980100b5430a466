/** What every family of models gives and gets. Knows no family. */

import type { MlxArray } from "../mlx/array.ts";
import type { Step } from "./step.ts";

/** What one layer keeps of a token; every layer keeps the same. */
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
  /** `token_ids` (tokens) of all the step's spans, one behind the other, to hidden states (tokens, hidden_size). */
  forward(token_ids: MlxArray, step: Step): MlxArray;
  /** Hidden states (tokens, hidden_size) to float32 (tokens, vocabulary_size). */
  logits(hidden: MlxArray): MlxArray;
}
