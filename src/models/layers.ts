/** The layers families are made of, as functions over weights that a family owns. Knows no family and no file format. */

import type { MlxArray } from "../mlx/array.ts";
import {
  add,
  dequantize,
  matmul,
  multiply,
  type Quantization,
  quantizedMatmul,
  sigmoid,
  take,
  transpose,
} from "../mlx/ops.ts";

/** A (rows, columns) matrix, dense and already transposed, or quantised in MLX's affine form; with a bias (rows) or none. */
export type Linear = (
  | { readonly kind: "dense"; readonly transposed: MlxArray }
  | {
      readonly kind: "quantized";
      readonly weight: MlxArray;
      readonly scales: MlxArray;
      readonly biases: MlxArray;
      readonly how: Quantization;
    }
) & { readonly bias: MlxArray | null };

/** `x` (…, columns) to (…, rows). */
export function linear(x: MlxArray, layer: Linear): MlxArray {
  const { bias } = layer;
  if (bias === null) return product(x, layer);
  using y = product(x, layer);
  return add(y, bias);
}

/** Rows of the table by token: (1, length) to (1, length, columns). */
export function embed(token_ids: MlxArray, table: Linear): MlxArray {
  if (table.kind === "dense") {
    using rows = transpose(table.transposed, [1, 0]);
    return take(rows, token_ids, 0);
  }
  using weight = take(table.weight, token_ids, 0);
  using scales = take(table.scales, token_ids, 0);
  using biases = take(table.biases, token_ids, 0);
  return dequantize(weight, scales, biases, table.how);
}

/** silu(gate) · up, as in the SwiGLU feed-forward (Shazeer 2020, arXiv:2002.05202). */
export function swiglu(gate: MlxArray, up: MlxArray): MlxArray {
  using squashed = sigmoid(gate);
  using activated = multiply(gate, squashed);
  return multiply(activated, up);
}

function product(x: MlxArray, layer: Linear): MlxArray {
  return layer.kind === "dense"
    ? matmul(x, layer.transposed)
    : quantizedMatmul(x, layer.weight, layer.scales, layer.biases, layer.how);
}
