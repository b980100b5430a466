/** What every family of models gives and gets. Knows no family. */

import type { EncoderText } from "../core/encoding.ts";
import type { MlxArray } from "../mlx/array.ts";
import type { Adaptable } from "./layers.ts";
import type { Step } from "./step.ts";

/** What one layer keeps of a token; every layer keeps the same. */
export interface CacheShape {
  readonly layers: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  /** Absent where all layers see all. */
  readonly windows?: Windows | undefined;
}

/** How many positions each layer sees, null: all. */
export type Windows = readonly (number | null)[];

/** Of one array, float32, that a recurrent layer keeps of a sequence, whatever its length. */
export type StateShape = readonly number[];

const FLOAT_BYTES = 4;

/** Of one sequence, over all layers. */
export function stateBytes(shapes: readonly StateShape[]): number {
  return shapes.reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, FLOAT_BYTES), 0);
}

/** What a model keeps of a text, as far as its config tells. */
export interface Kept {
  /** Of the layers that have keys and values. */
  readonly windows: Windows;
  /** Of all others. */
  readonly state_shapes: readonly StateShape[];
}

export interface Model extends Disposable {
  readonly cache_shape: CacheShape;
  /** Of all recurrent layers; empty where there are none. */
  readonly state_shapes: readonly StateShape[];
  /** Tokens, prompt and answer together. */
  readonly context_length: number;
  readonly vocabulary_size: number;
  readonly bytes_resident: number;
  /** What adapters may add to. */
  readonly adaptable: readonly Adaptable[];
  /** `token_ids` (tokens) of all the step's spans, one behind the other, to hidden states (tokens, hidden_size). */
  forward(token_ids: MlxArray, step: Step): MlxArray;
  /** Hidden states as the head reads them: with the last norm, float32. */
  normed(hidden: MlxArray): MlxArray;
  /** Hidden states (tokens, hidden_size) to float32 (tokens, vocabulary_size). */
  logits(hidden: MlxArray): MlxArray;
}

/** Reads whole texts, each token in sight of all others; continues none. */
export interface Encoder extends Disposable {
  readonly hidden_size: number;
  /** Tokens of a text. */
  readonly context_length: number;
  readonly vocabulary_size: number;
  readonly bytes_resident: number;
  /** States (texts, longest, hidden_size), of which those behind a text's end mean nothing. Yields when a layer is computed. */
  forward(texts: readonly EncoderText[]): Generator<void, MlxArray, void>;
  /** First tokens' states (texts, hidden_size) to a score of each (texts, 1); null where the files have no such head. */
  readonly classify: ((first: MlxArray) => MlxArray) | null;
}
