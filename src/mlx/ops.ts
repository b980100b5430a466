/** The operations of mlx-c by their own names. Each returns a new array that the caller owns. */

import { type Dtype, dtypes, fromSlot, type MlxArray, withVector } from "./array.ts";
import { emptySlot, library } from "./library.ts";

/** `affine`, as bytes that stay where they are: mlx-c reads the mode as a C string. */
const affine = new TextEncoder().encode("affine\0");

export interface Quantization {
  readonly group_size: number;
  readonly bits: number;
}

export const add = binary("mlx_add");
export const divide = binary("mlx_divide");
export const less = binary("mlx_less");
export const matmul = binary("mlx_matmul");
export const minimum = binary("mlx_minimum");
export const multiply = binary("mlx_multiply");

export const erf = unary("mlx_erf");
export const sigmoid = unary("mlx_sigmoid");
export const tanh = unary("mlx_tanh");

/** Along `axis`, which stays with length 1. */
export const max = reduction("mlx_max_axis");
export const min = reduction("mlx_min_axis");

/** Index of the greatest value along `axis`, uint32; the axis is dropped. */
export function argmax(a: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_argmax_axis", native.mlx_argmax_axis(emptySlot(), a.handle, axis, false, stream));
}

export function astype(a: MlxArray, dtype: Dtype): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_astype", native.mlx_astype(emptySlot(), a.handle, dtypes[dtype], stream));
}

export function concatenate(arrays: readonly MlxArray[], axis: number): MlxArray {
  const { native, stream } = library();
  return withVector(arrays, (vector) =>
    fromSlot("mlx_concatenate_axis", native.mlx_concatenate_axis(emptySlot(), vector, axis, stream)),
  );
}

/** Running sum along `axis` from its end; each place without its own value. */
export function cumsumAfter(a: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_cumsum", native.mlx_cumsum(emptySlot(), a.handle, axis, true, false, stream));
}

/** `weight` (rows, columns · bits / 32) back to (rows, columns) in the dtype of `scales`. */
export function dequantize(weight: MlxArray, scales: MlxArray, biases: MlxArray, how: Quantization): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_dequantize",
    native.mlx_dequantize(
      emptySlot(),
      weight.handle,
      scales.handle,
      biases.handle,
      present(how.group_size),
      present(how.bits),
      affine,
      null,
      absent,
      stream,
    ),
  );
}

/** `x` (…, columns) times the transpose of a quantised (rows, columns) weight: (…, rows). */
export function quantizedMatmul(
  x: MlxArray,
  weight: MlxArray,
  scales: MlxArray,
  biases: MlxArray,
  how: Quantization,
): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_quantized_matmul",
    native.mlx_quantized_matmul(
      emptySlot(),
      x.handle,
      weight.handle,
      scales.handle,
      biases.handle,
      true,
      present(how.group_size),
      present(how.bits),
      affine,
      stream,
    ),
  );
}

export function reshape(a: MlxArray, shape: readonly number[]): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_reshape", native.mlx_reshape(emptySlot(), a.handle, integers(shape), shape.length, stream));
}

/** `start` inclusive, `stop` exclusive, one of each per axis. */
export function slice(a: MlxArray, start: readonly number[], stop: readonly number[]): MlxArray {
  const { native, stream } = library();
  const rank = start.length;
  return fromSlot(
    "mlx_slice",
    native.mlx_slice(
      emptySlot(),
      a.handle,
      integers(start),
      rank,
      integers(stop),
      rank,
      integers(start.map(() => 1)),
      rank,
      stream,
    ),
  );
}

/** `source` with `update` written over the slice; in place when nobody else holds `source`. */
export function sliceUpdate(
  source: MlxArray,
  update: MlxArray,
  start: readonly number[],
  stop: readonly number[],
): MlxArray {
  const { native, stream } = library();
  const rank = start.length;
  return fromSlot(
    "mlx_slice_update",
    native.mlx_slice_update(
      emptySlot(),
      source.handle,
      update.handle,
      integers(start),
      rank,
      integers(stop),
      rank,
      integers(start.map(() => 1)),
      rank,
      stream,
    ),
  );
}

export function softmax(a: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_softmax_axis", native.mlx_softmax_axis(emptySlot(), a.handle, axis, true, stream));
}

/** Ascending. */
export function sort(a: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_sort_axis", native.mlx_sort_axis(emptySlot(), a.handle, axis, stream));
}

export function take(a: MlxArray, indices: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_take_axis", native.mlx_take_axis(emptySlot(), a.handle, indices.handle, axis, stream));
}

/** The `k` greatest along `axis`, in no order. */
export function topk(a: MlxArray, k: number, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_topk_axis", native.mlx_topk_axis(emptySlot(), a.handle, k, axis, stream));
}

export function transpose(a: MlxArray, axes: readonly number[]): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_transpose_axes",
    native.mlx_transpose_axes(emptySlot(), a.handle, integers(axes), axes.length, stream),
  );
}

export function where(condition: MlxArray, yes: MlxArray, no: MlxArray): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_where", native.mlx_where(emptySlot(), condition.handle, yes.handle, no.handle, stream));
}

export function zeros(shape: readonly number[], dtype: Dtype): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_zeros", native.mlx_zeros(emptySlot(), integers(shape), shape.length, dtypes[dtype], stream));
}

/** The state of a random draw, from a 64-bit seed. */
export function randomKey(seed: bigint): MlxArray {
  return fromSlot("mlx_random_key", library().native.mlx_random_key(emptySlot(), seed));
}

/** One index along the last axis, drawn with the probabilities softmax(logits). */
export function categorical(logits: MlxArray, key: MlxArray): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_random_categorical",
    native.mlx_random_categorical(emptySlot(), logits.handle, -1, key.handle, stream),
  );
}

const absent = 0n;

/** `mlx_optional_int`: the value in the low half, the flag above it. */
function present(value: number): bigint {
  return BigInt(value) | (1n << 32n);
}

/** Passed as an array, not by `ptr`: a bare address would not keep it alive until the call. */
function integers(values: readonly number[]): Int32Array {
  return Int32Array.from(values);
}

type BinaryOperation = "mlx_add" | "mlx_divide" | "mlx_less" | "mlx_matmul" | "mlx_minimum" | "mlx_multiply";

/** An operation on two arrays whose shapes agree or broadcast. */
function binary(operation: BinaryOperation): (a: MlxArray, b: MlxArray) => MlxArray {
  return (a, b) => {
    const { native, stream } = library();
    return fromSlot(operation, native[operation](emptySlot(), a.handle, b.handle, stream));
  };
}

function unary(operation: "mlx_erf" | "mlx_sigmoid" | "mlx_tanh"): (a: MlxArray) => MlxArray {
  return (a) => {
    const { native, stream } = library();
    return fromSlot(operation, native[operation](emptySlot(), a.handle, stream));
  };
}

function reduction(operation: "mlx_max_axis" | "mlx_min_axis"): (a: MlxArray, axis: number) => MlxArray {
  return (a, axis) => {
    const { native, stream } = library();
    return fromSlot(operation, native[operation](emptySlot(), a.handle, axis, true, stream));
  };
}
