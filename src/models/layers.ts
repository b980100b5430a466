/** The layers families are made of, as functions over weights that a family owns. Knows no family and no file format. */

import { type MlxArray, scalar } from "../mlx/array.ts";
import { geluRows, hasExtras } from "../mlx/extras.ts";
import {
  add,
  dequantize,
  erf,
  matmul,
  multiply,
  type Quantization,
  quantizedMatmul,
  sigmoid,
  take,
} from "../mlx/ops.ts";
import { toActivationDtype } from "./dense.ts";

/** A (rows, columns) matrix, dense or quantised in MLX's affine form; with a bias (rows) or none. */
export type Linear = (
  | { readonly kind: "dense"; readonly weight: MlxArray; readonly transposed: MlxArray }
  | {
      readonly kind: "quantized";
      readonly weight: MlxArray;
      readonly scales: MlxArray;
      readonly biases: MlxArray;
      readonly how: Quantization;
    }
) & { readonly bias: MlxArray | null };

/** The arrays of a layer in the order of native/layer.h. */
export function weightsOf(layer: Linear): (MlxArray | null)[] {
  return layer.kind === "dense"
    ? [layer.weight, null, null, layer.bias]
    : [layer.weight, layer.scales, layer.biases, layer.bias];
}

/** Frees the weights: the library has made its own of them. */
export function giveUp(...layers: readonly Linear[]): void {
  for (const layer of layers) {
    for (const array of weightsOf(layer)) array?.[Symbol.dispose]();
    if (layer.kind === "dense") layer.transposed[Symbol.dispose]();
  }
}

/** The group size and bits of a layer, as native/layer.h reads them. */
export function formOf(layer: Linear): [number, number] {
  return layer.kind === "dense" ? [0, 0] : [layer.how.group_size, layer.how.bits];
}

/** `x` (…, columns) to (…, rows). */
export function linear(x: MlxArray, layer: Linear): MlxArray {
  const { bias } = layer;
  if (bias === null) return product(x, layer);
  using y = product(x, layer);
  return add(y, bias);
}

/** Rows of the table by token: (tokens) to (tokens, columns), in the dtype the model computes in. */
export function embed(token_ids: MlxArray, table: Linear): MlxArray {
  using weight = take(table.weight, token_ids, 0);
  if (table.kind === "dense") return toActivationDtype(weight);
  using stored_scales = take(table.scales, token_ids, 0);
  using stored_biases = take(table.biases, token_ids, 0);
  using scales = toActivationDtype(stored_scales); // which is the result's
  using biases = toActivationDtype(stored_biases);
  return dequantize(weight, scales, biases, table.how);
}

/** silu(gate) · up, as in the SwiGLU feed-forward (Shazeer 2020, arXiv:2002.05202). */
export function swiglu(gate: MlxArray, up: MlxArray): MlxArray {
  using squashed = sigmoid(gate);
  using activated = multiply(gate, squashed);
  return multiply(activated, up);
}

/** `x` (tokens, columns) to x · Φ(x) by the error function (Hendrycks and Gimpel 2016, arXiv:1606.08415). */
export function gelu(x: MlxArray): MlxArray {
  if (hasExtras()) return geluRows(x);
  using half = scalar(0.5);
  using one = scalar(1);
  using root = scalar(Math.SQRT1_2);
  using scaled = multiply(x, root);
  using error = erf(scaled);
  using raised = add(error, one);
  using share = multiply(raised, half);
  return multiply(x, share);
}

function product(x: MlxArray, layer: Linear): MlxArray {
  return layer.kind === "dense"
    ? matmul(x, layer.transposed)
    : quantizedMatmul(x, layer.weight, layer.scales, layer.biases, layer.how);
}
