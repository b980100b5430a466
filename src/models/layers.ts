/** The layers families are made of, as functions over weights that a family owns. Knows no family and no file format. */

import { type MlxArray, scalar } from "../mlx/array.ts";
import { applyLinear, geluRows, hasExtras, type NativeLayer, takeLinearRows } from "../mlx/extras.ts";
import { layerNorm, rmsNorm } from "../mlx/fast.ts";
import {
  add,
  astype,
  dequantize,
  erf,
  matmul,
  multiply,
  type Quantization,
  quantizedMatmul,
  sigmoid,
  take,
  tanh,
} from "../mlx/ops.ts";
import { toActivationDtype } from "./dense.ts";

/** What an adapter may add to: a matrix under the name that the model's files have for it, or some of its rows. */
export interface Target {
  readonly name: string;
  /** Of the matrix in the files. */
  readonly rows: number;
  readonly columns: number;
  /** Which of them the layer has, in its order; null: all. */
  readonly picked: readonly number[] | null;
}

/** The same of the matrices of experts, which files have under one name or under one each. */
export interface ExpertTarget {
  readonly name: string;
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  each(expert: number): string;
}

/** (rows, columns), dense or quantised in one of MLX's forms. */
export type Matrix =
  | { readonly kind: "dense"; readonly weight: MlxArray; readonly transposed: MlxArray }
  | {
      readonly kind: "quantized";
      readonly weight: MlxArray;
      readonly scales: MlxArray;
      readonly biases: MlxArray | null;
      readonly how: Quantization;
    };

/** With a bias (rows) or none. */
export type Linear = Matrix & { readonly bias: MlxArray | null; readonly target: Target };

/** A matrix, with its bias, whose weights a layer of the library holds. */
export interface NativeLinear {
  readonly kind: "native";
  readonly layer: NativeLayer;
  readonly target: Target;
}

/** Matrices (rows, columns) of one shape, dense ones turned to (count, columns, rows); with biases (count, rows) or none. */
export type Experts = (
  | { readonly kind: "dense"; readonly turned: MlxArray }
  | {
      readonly kind: "quantized";
      readonly weight: MlxArray;
      readonly scales: MlxArray;
      readonly biases: MlxArray | null;
      readonly how: Quantization;
    }
) & { readonly bias: MlxArray | null; readonly expert_target: ExpertTarget };

/** What adapters may add to. */
export type Adaptable = Linear | NativeLinear | Experts;

/** Of the last axis: by its mean square, or by its mean and variance. */
export interface Norm {
  readonly kind: "rms" | "layer";
  readonly weight: MlxArray;
  readonly bias: MlxArray | null;
  readonly epsilon: number;
}

/** x · sigmoid(x), or GELU by its tanh formula. */
export type Activation = "silu" | "gelu_tanh";

/** The arrays of a layer in the order of native/layer.h. */
export function weightsOf(layer: Linear): (MlxArray | null)[] {
  return layer.kind === "dense"
    ? [layer.weight, null, null, layer.bias]
    : [layer.weight, layer.scales, layer.biases, layer.bias];
}

/** Rows of the weights by uint32 number: (numbers, columns). */
export function weightRows(layer: Linear | NativeLinear, numbers: MlxArray): MlxArray {
  return layer.kind === "native" ? takeLinearRows(layer.layer, numbers) : embed(numbers, layer);
}

export function rowsOf({ weight }: Linear): number {
  return weight.shape[0] ?? 0;
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
export function linear(x: MlxArray, layer: Linear | NativeLinear): MlxArray {
  if (layer.kind === "native") return applyLinear(layer.layer, x);
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
  if (table.biases === null) {
    using rows = dequantize(weight, stored_scales, null, table.how); // bfloat16 holds them exactly
    return toActivationDtype(rows);
  }
  using stored_biases = take(table.biases, token_ids, 0);
  using scales = toActivationDtype(stored_scales); // which is the result's
  using biases = toActivationDtype(stored_biases);
  return dequantize(weight, scales, biases, table.how);
}

export function normalize(x: MlxArray, { kind, weight, bias, epsilon }: Norm): MlxArray {
  return kind === "rms" ? rmsNorm(x, weight, epsilon) : layerNorm(x, weight, bias, epsilon);
}

export function activate(x: MlxArray, activation: Activation): MlxArray {
  return activation === "silu" ? silu(x) : geluTanh(x);
}

/** activate(gate) · up, as in the gated feed-forward layers (Shazeer 2020, arXiv:2002.05202). */
export function gated(gate: MlxArray, up: MlxArray, activation: Activation): MlxArray {
  using activated = activate(gate, activation);
  return multiply(activated, up);
}

/** residual + factor · norm(y) */
export function close(y: MlxArray, residual: MlxArray, norm: Norm | undefined, factor: number): MlxArray {
  using normed = norm === undefined ? null : normalize(y, norm);
  using scaled = factor === 1 ? null : times(normed ?? y, factor);
  return add(residual, scaled ?? normed ?? y);
}

export function plus(x: MlxArray, more: number): MlxArray {
  using number = scalar(more);
  using same = astype(number, x.dtype);
  return add(x, same);
}

/** In the dtype of `x`. */
export function times(x: MlxArray, factor: number): MlxArray {
  using number = scalar(factor);
  using same = astype(number, x.dtype);
  return multiply(x, same);
}

/** cap · tanh(x / cap) */
export function softCap(x: MlxArray, cap: number): MlxArray {
  using small = times(x, 1 / cap);
  using squashed = tanh(small);
  return times(squashed, cap);
}

function silu(x: MlxArray): MlxArray {
  using squashed = sigmoid(x);
  return multiply(x, squashed);
}

/** x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) = x · sigmoid(2√(2/π) · (x + 0.044715 · x³)) */
function geluTanh(x: MlxArray): MlxArray {
  using square = multiply(x, x);
  using cube = multiply(square, x);
  using small = times(cube, 0.044715);
  using inner = add(x, small);
  using turned = times(inner, 2 * Math.sqrt(2 / Math.PI));
  using squashed = sigmoid(turned);
  return multiply(x, squashed);
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
