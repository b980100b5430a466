/** The operations of mlx-c by their own names. Each returns a new array that the caller owns. */

import { type Dtype, dtypes, fromSlot, fromVectorSlot, type MlxArray, withVector } from "./array.ts";
import { check, emptySlot, library } from "./library.ts";

/** As bytes that stay where they are: mlx-c reads the mode as a C string. */
const modes = { affine: text("affine"), mxfp4: text("mxfp4"), mxfp8: text("mxfp8"), nvfp4: text("nvfp4") };

export interface Quantization {
  /** Groups with scales and biases, or of small floats with a scale of one byte, which have no biases. */
  readonly mode: keyof typeof modes;
  readonly group_size: number;
  readonly bits: number;
}

export const add = binary("mlx_add");
export const divide = binary("mlx_divide");
/** log(e^a + e^b) */
export const logAddExp = binary("mlx_logaddexp");
export const matmul = binary("mlx_matmul");
export const maximum = binary("mlx_maximum");
export const minimum = binary("mlx_minimum");
export const multiply = binary("mlx_multiply");

export const erf = unary("mlx_erf");
export const exp = unary("mlx_exp");
export const sigmoid = unary("mlx_sigmoid");
export const tanh = unary("mlx_tanh");

/** Along `axis`, which stays with length 1. */
export function sum(a: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_sum_axis", native.mlx_sum_axis(emptySlot(), a.handle, axis, true, stream));
}

/** Index of the greatest value along `axis`, uint32; the axis is dropped. */
export function argmax(a: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_argmax_axis", native.mlx_argmax_axis(emptySlot(), a.handle, axis, false, stream));
}

/** Indices along the last axis, uint32, so that those of the `k` greatest stand last, in no order. */
export function argpartition(a: MlxArray, k: number): MlxArray {
  const { native, stream } = library();
  const operation = "mlx_argpartition_axis";
  return fromSlot(operation, native[operation](emptySlot(), a.handle, -k, -1, stream));
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

/** `weight` (rows, columns · bits / 32) back to (rows, columns) in the dtype of `scales`, small floats in bfloat16. */
export function dequantize(weight: MlxArray, scales: MlxArray, biases: MlxArray | null, how: Quantization): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_dequantize",
    native.mlx_dequantize(
      emptySlot(),
      weight.handle,
      scales.handle,
      biases?.handle ?? null,
      present(how.group_size),
      present(how.bits),
      modes[how.mode],
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
  biases: MlxArray | null,
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
      biases?.handle ?? null,
      true,
      present(how.group_size),
      present(how.bits),
      modes[how.mode],
      stream,
    ),
  );
}

/** Each of `x` (places, 1, 1, columns) by the matrices of `stack` (count, columns, rows) that `indices` (places, k) name: (places, k, 1, rows). */
export function gatherMm(x: MlxArray, stack: MlxArray, indices: MlxArray): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_gather_mm",
    native.mlx_gather_mm(emptySlot(), x.handle, stack.handle, null, indices.handle, false, stream),
  );
}

/** The same by the transposes of quantised matrices (count, rows, columns). */
export function gatherQmm(
  x: MlxArray,
  weight: MlxArray,
  scales: MlxArray,
  biases: MlxArray | null,
  indices: MlxArray,
  how: Quantization,
): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_gather_qmm",
    native.mlx_gather_qmm(
      emptySlot(),
      x.handle,
      weight.handle,
      scales.handle,
      biases?.handle ?? null,
      null,
      indices.handle,
      true,
      present(how.group_size),
      present(how.bits),
      modes[how.mode],
      false,
      stream,
    ),
  );
}

/** `weight` (…, columns) packed to (…, columns · bits / 32), with scales and, in groups that are affine, biases for each group. */
export function quantize(weight: MlxArray, { mode, group_size, bits }: Quantization): MlxArray[] {
  const { native, stream } = library();
  const name = modes[mode];
  const code = native.mlx_quantize(emptySlot(), weight.handle, present(group_size), present(bits), name, null, stream);
  check("mlx_quantize", code);
  return fromVectorSlot(mode === "affine" ? 3 : 2);
}

/** The same bytes as items of another size, more or fewer along the last axis. */
export function view(a: MlxArray, dtype: Dtype): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_view", native.mlx_view(emptySlot(), a.handle, dtypes[dtype], stream));
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

/** Along `axis`, the values at `indices`, whose shape the result has. */
export function takeAlong(a: MlxArray, indices: MlxArray, axis: number): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_take_along_axis",
    native.mlx_take_along_axis(emptySlot(), a.handle, indices.handle, axis, stream),
  );
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

const absent = 0n;

/** `mlx_optional_int`: the value in the low half, the flag above it. */
function present(value: number): bigint {
  return BigInt(value) | (1n << 32n);
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

/** Passed as an array, not by `ptr`: a bare address would not keep it alive until the call. */
function integers(values: readonly number[]): Int32Array {
  return Int32Array.from(values);
}

type BinaryOperation =
  | "mlx_add"
  | "mlx_divide"
  | "mlx_logaddexp"
  | "mlx_matmul"
  | "mlx_maximum"
  | "mlx_minimum"
  | "mlx_multiply";

/** An operation on two arrays whose shapes agree or broadcast. */
function binary(operation: BinaryOperation): (a: MlxArray, b: MlxArray) => MlxArray {
  return (a, b) => {
    const { native, stream } = library();
    return fromSlot(operation, native[operation](emptySlot(), a.handle, b.handle, stream));
  };
}

function unary(operation: "mlx_erf" | "mlx_exp" | "mlx_sigmoid" | "mlx_tanh"): (a: MlxArray) => MlxArray {
  return (a) => {
    const { native, stream } = library();
    return fromSlot(operation, native[operation](emptySlot(), a.handle, stream));
  };
}
