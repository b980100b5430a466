/**
 * What our own libmlxc adds to mlx-c: whole layers in one operation. A genuine mlx-c has none of it, and who calls
 * composes the same from ordinary operations. Knows no model.
 */

import { dlopen, ptr, read } from "bun:ffi";
import { assert } from "../core/assert.ts";
import { type Dtype, dtypes, fromSlot, fromVectorSlot, MlxArray, withVector } from "./array.ts";
import { check, emptySlot, type Handle, library, MlxError, takeError } from "./library.ts";
import { extra_symbols } from "./symbols.ts";

type Native = ReturnType<typeof dlopen<typeof extra_symbols>>["symbols"];

let opened: Native | null = null;

/** Looks for the additions in an opened library; `wanted` false leaves them out, as a genuine mlx-c would. */
export function openExtras(path: string, wanted: boolean): void {
  opened = wanted ? find(path) : null;
  wasFileCut(); // by an engine before this one
}

export function hasExtras(): boolean {
  return opened !== null;
}

/** How many threads compute, for all models of this process; 0: as many as the machine has cores. Holds from the next operation on. */
export function setThreads(count: number): void {
  if (opened !== null) check("bunsen_set_threads", opened.bunsen_set_threads(count));
}

/** Lets products of 4- and 8-bit weights carry activations in 8 bits in place of 24, for all models of this process. */
export function setFast(fast: boolean): void {
  opened?.bunsen_set_fast(fast);
}

/** A layer's numbers in the order of the native header: its weights, null for an absent one, its sizes and its factors. */
export interface LayerParts {
  readonly weights: readonly (MlxArray | null)[];
  readonly numbers: readonly number[];
  readonly factors: readonly number[];
}

type LayerKind = "attention" | "linear" | "mlp";

/** A layer that the library holds. */
export class NativeLayer implements Disposable {
  readonly kind: LayerKind;
  #handle: Handle | null;

  /** `operation` gave the handle. */
  constructor(kind: LayerKind, handle: Handle | null, operation: string) {
    if (handle === null) throw new MlxError(operation, takeError());
    this.kind = kind;
    this.#handle = handle;
  }

  get handle(): Handle {
    assert(this.#handle !== null, "a layer is not used after it was freed");
    return this.#handle;
  }

  [Symbol.dispose](): void {
    if (this.#handle === null) return;
    extras()[`bunsen_${this.kind}_free`](this.#handle);
    this.#handle = null;
  }
}

export function newLayer(kind: LayerKind, { weights, numbers, factors }: LayerParts): NativeLayer {
  const operation = `bunsen_${kind}_new` as const;
  const handle = extras()[operation](
    BigUint64Array.from(weights, (weight) => BigInt(weight?.handle ?? 0)),
    Int32Array.from(numbers),
    Float32Array.from(factors),
    library().stream,
  );
  return new NativeLayer(kind, handle, operation);
}

/** One of a layer's projections by its number in native/bunsen.h, over the same weights. */
export function projectionOf(layer: NativeLayer, number: number): NativeLayer {
  assert(layer.kind !== "linear", "a projection has no parts");
  const operation = `bunsen_${layer.kind}_linear` as const;
  return new NativeLayer("linear", extras()[operation](layer.handle, number), operation);
}

/** All of attention between its projections; `projected` holds queries, keys and values side by side. */
export function mixAttention(
  layer: NativeLayer,
  projected: MlxArray,
  cache: { readonly keys: MlxArray; readonly values: MlxArray },
  spans: MlxArray,
  angles: MlxArray,
): MlxArray {
  const code = extras().bunsen_attention_mix(
    emptySlot(),
    layer.handle,
    projected.handle,
    cache.keys.handle,
    cache.values.handle,
    spans.handle,
    angles.handle,
    library().stream,
  );
  return fromSlot("bunsen_attention_mix", code);
}

/** `x` and `residual` (tokens, hidden); `keys` and `values` are written in place. Arrays as in native/bunsen.h. */
export function applyAttention(
  layer: NativeLayer,
  x: MlxArray,
  residual: MlxArray,
  cache: { readonly keys: MlxArray; readonly values: MlxArray },
  spans: MlxArray,
  angles: MlxArray,
): MlxArray {
  const code = extras().bunsen_attention_apply(
    emptySlot(),
    layer.handle,
    x.handle,
    residual.handle,
    cache.keys.handle,
    cache.values.handle,
    spans.handle,
    angles.handle,
    library().stream,
  );
  return fromSlot("bunsen_attention_apply", code);
}

/** `x` and `residual` (tokens, hidden). */
export function applyMlp(layer: NativeLayer, x: MlxArray, residual: MlxArray): MlxArray {
  const code = extras().bunsen_mlp_apply(emptySlot(), layer.handle, x.handle, residual.handle, library().stream);
  return fromSlot("bunsen_mlp_apply", code);
}

/** `x` (tokens, columns) to (tokens, rows). */
export function applyLinear(layer: NativeLayer, x: MlxArray): MlxArray {
  const code = extras().bunsen_linear_apply(emptySlot(), layer.handle, x.handle, library().stream);
  return fromSlot("bunsen_linear_apply", code);
}

/** Rows of the weights by uint32 number: (tokens) to (tokens, columns). */
export function takeLinearRows(layer: NativeLayer, numbers: MlxArray): MlxArray {
  const code = extras().bunsen_linear_rows(emptySlot(), layer.handle, numbers.handle, library().stream);
  return fromSlot("bunsen_linear_rows", code);
}

/** An array that nobody has written, and whose memory the machine gives only as it is written. */
export function reserve(shape: readonly number[], dtype: Dtype): MlxArray {
  const code = extras().bunsen_reserve(
    emptySlot(),
    Int32Array.from(shape),
    shape.length,
    dtypes[dtype],
    library().stream,
  );
  return fromSlot("bunsen_reserve", code);
}

/** Gives the memory of parts of a computed array back to the machine, ascending and `part_bytes` each; what they hold is lost. */
export function forget(array: MlxArray, parts: Uint32Array, part_bytes: number): void {
  if (opened === null || parts.length === 0) return;
  check("bunsen_forget", opened.bunsen_forget(array.handle, parts, parts.length, part_bytes));
}

/** Bytes of an open file from `offset` on as an array that stays in the file; null where the library cannot. */
export function mapFile(descriptor: number, offset: number, shape: readonly number[], dtype: Dtype): MlxArray | null {
  if (opened === null) return null;
  const code = opened.bunsen_map(emptySlot(), descriptor, offset, Int32Array.from(shape), shape.length, dtypes[dtype]);
  if (code === 0) return fromSlot("bunsen_map", code);
  takeError();
  return null;
}

let files_cut = 0;

/** Whether a mapped file was cut since this was asked last: what was computed since may be wrong. */
export function wasFileCut(): boolean {
  const before = files_cut;
  files_cut = opened?.bunsen_files_cut() ?? 0;
  return files_cut !== before;
}

/** The numbers of ggml's block types in native/bunsen.h. */
const block_types = { Q4_0: 0, Q4_1: 1, Q8_0: 2 } as const;

/** Blocks of ggml, an array of bytes, as affine groups of 32 with float16 scales; row i of the result is row order[i]. */
export function repackBlocks(
  type: keyof typeof block_types,
  blocks: MlxArray,
  rows: number,
  columns: number,
  order: Uint32Array | null,
): { words: MlxArray; scales: MlxArray; biases: MlxArray } {
  const operation = "bunsen_repack";
  const [words, scales, biases] = [new BigUint64Array(1), new BigUint64Array(1), new BigUint64Array(1)];
  const code = extras()[operation](words, scales, biases, blocks.handle, block_types[type], rows, columns, order);
  check(operation, code);
  const [first, second, third] = [words, scales, biases].map((slot) => new MlxArray(read.u64(ptr(slot), 0)));
  assert(first !== undefined && second !== undefined && third !== undefined, "three slots were written");
  return { words: first, scales: second, biases: third };
}

/** Cosines and sines of int32 `positions` over `wavelengths` (pairs): (tokens, 2, pairs), times `magnitude`. */
export function ropeAngles(positions: MlxArray, wavelengths: MlxArray, scale: number, magnitude: number): MlxArray {
  const code = extras().bunsen_rope_angles(
    emptySlot(),
    positions.handle,
    wavelengths.handle,
    scale,
    magnitude,
    library().stream,
  );
  return fromSlot("bunsen_rope_angles", code);
}

/** The sequences that tokens belong to, as native/bunsen.h has them, and what was kept of those that are not at their start. */
export interface Sequences {
  /** Of each its first token, their count, and its place among `befores`, or -1. */
  readonly stretches: Int32Array;
  readonly befores: readonly MlxArray[];
}

/** A causal convolution of each channel; what comes out, and then what is to be kept of each sequence. */
export function applyConvolution(
  x: MlxArray,
  taps: MlxArray,
  bias: MlxArray | null,
  { stretches, befores }: Sequences,
): MlxArray[] {
  const code = withVector(befores, (vector) =>
    extras().bunsen_convolve(
      emptySlot(),
      x.handle,
      taps.handle,
      bias?.handle ?? null,
      stretches,
      stretches.length / 3,
      vector,
      library().stream,
    ),
  );
  check("bunsen_convolve", code);
  return fromVectorSlot(1 + stretches.length / 3);
}

/** The gated delta rule; the same. */
export function applyDeltaRule(
  queries: MlxArray,
  keys: MlxArray,
  values: MlxArray,
  log_decays: MlxArray,
  rates: MlxArray,
  { stretches, befores }: Sequences,
): MlxArray[] {
  const code = withVector(befores, (vector) =>
    extras().bunsen_delta_rule(
      emptySlot(),
      queries.handle,
      keys.handle,
      values.handle,
      log_decays.handle,
      rates.handle,
      stretches,
      stretches.length / 3,
      vector,
      library().stream,
    ),
  );
  check("bunsen_delta_rule", code);
  return fromVectorSlot(1 + stretches.length / 3);
}

/** `x` (tokens, columns) by the error function. */
export function geluRows(x: MlxArray): MlxArray {
  return fromSlot("bunsen_gelu", extras().bunsen_gelu(emptySlot(), x.handle, library().stream));
}

function extras(): Native {
  assert(opened !== null, "the additions are used only where the library has them");
  return opened;
}

function find(path: string): Native | null {
  try {
    return dlopen(path, extra_symbols).symbols;
  } catch {
    return null; // a genuine mlx-c
  }
}
