/** The weights and the config of a GGUF file, in the names of the Hugging Face layout. Blocks stay quantised, without loss. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { FileBytes } from "../formats/file-bytes.ts";
import {
  type AffineGroups,
  isRepacked,
  type RepackedType,
  repack,
  takeRows,
  unpairedRows,
} from "../formats/ggml-blocks.ts";
import { dequantizeBlocks, type FloatGroups, groupBlocks, isGrouped, isSixteen } from "../formats/ggml-k-blocks.ts";
import { isMxfp4, type Mxfp4Groups, mxfp4Groups } from "../formats/ggml-mxfp4.ts";
import { GGML_TYPES } from "../formats/ggml-types.ts";
import type { GgufFile, GgufTensor } from "../formats/gguf.ts";
import { readGgufModel } from "../formats/gguf-parts.ts";
import { fromBytes, inRows, type MlxArray, memoryOf, toFloat32 } from "../mlx/array.ts";
import { hasExtras, repackBlocks } from "../mlx/extras.ts";
import { library } from "../mlx/library.ts";
import { astype, dequantize, quantize, reshape, transpose } from "../mlx/ops.ts";
import type { ModelConfig } from "./config.ts";
import { FLOAT_DTYPES, stored, toActivationDtype } from "./dense.ts";
import { refuseNonFinite } from "./finite.ts";
import { type Architecture, architectureOf } from "./gguf-architectures.ts";
import { type Experts, type Linear, type Matrix, plus } from "./layers.ts";
import { SMALL_FLOATS } from "./quantization.ts";
import { ArrayKeeper, type ExpertNames, inTurns, leftOver, type Weights } from "./weights.ts";

// The group of every block type that is an MLX affine group.
const GROUP_SIZE = 32;

export function openGguf(path: string, told: (bytes: number) => void): { config: ModelConfig; weights: Weights } {
  const file = readGgufModel(path);
  const weights = new GgufWeights(file, architectureOf(file), told);
  return { config: weights.config, weights };
}

/** Any tensor of a file as floats in its shape, rows and norms as the Hugging Face layout has them. */
export function denseTensor(file: GgufFile, architecture: Architecture, tensor: GgufTensor): MlxArray {
  using weights = new GgufWeights(file, architecture, () => undefined);
  return weights.dense(tensor);
}

/** Whether tensors of this type are read. */
export function isReadType(type: string): boolean {
  return isRepacked(type) || isGrouped(type) || isSixteen(type) || isMxfp4(type) || FLOAT_DTYPES.has(type);
}

const READ_TYPES = [...GGML_TYPES.values()].map(({ name }) => name).filter(isReadType);

class GgufWeights implements Weights {
  readonly file: string;
  readonly config: ModelConfig;
  readonly #architecture: Architecture;
  readonly #tensors: ReadonlyMap<string, GgufTensor>;
  readonly #files = new Map<string, FileBytes>();
  readonly #keeper: ArrayKeeper;
  readonly #asked = new Set<string>();
  /** By name, in two. */
  readonly #fused = new Map<string, readonly [Matrix, Matrix]>();

  constructor(file: GgufFile, architecture: Architecture, told: (bytes: number) => void) {
    this.#keeper = new ArrayKeeper(told);
    this.file = file.path;
    this.#architecture = architecture;
    this.#tensors = file.tensors;
    this.config = architecture.config((name, size) => this.#floats(name, size));
  }

  get bytes_resident(): number {
    return this.#keeper.bytes_resident;
  }

  get left_over(): string | null {
    return leftOver(this.#tensors.keys(), this.#asked);
  }

  has(name: string): boolean {
    return this.#tensors.has(this.#architecture.tensorName(name));
  }

  vector(name: string, size: number): MlxArray {
    const stored = this.#architecture.tensorName(name);
    const before = this.#architecture.before(name);
    const vector = this.#vector(stored, [size]);
    return this.#keeper.keep(before === null ? vector : this.#undone(stored, vector, before));
  }

  linears(name: string, rows: readonly number[], columns: number, bias: boolean): Linear[] {
    const all = rows.reduce((sum, each) => sum + each, 0);
    return this.#keeper.split(this.linear(name, all, columns, bias), rows);
  }

  linear(name: string, rows: number, columns: number, bias: boolean): Linear {
    const tensor = this.#matrixTensor(this.#architecture.tensorName(`${name}.weight`), rows, columns);
    const paired = this.#architecture.pairedHeads(name);
    const order = paired === null ? null : unpairedRows(paired, rows / paired);
    const { type } = tensor;
    const weight = this.#weight(tensor, type, rows, columns, order);
    const target = { name, rows, columns, picked: null };
    if (!bias) return { ...weight, bias: null, target };
    const added = this.#vector(this.#architecture.tensorName(`${name}.bias`), [rows], order);
    return { ...weight, bias: this.#keeper.keep(added), target };
  }

  #weight(tensor: GgufTensor, type: string, rows: number, columns: number, order: Uint32Array | null) {
    const weight = this.#readWeight(tensor, type, rows, columns, order);
    if (weight.kind === "quantized") refuseNonFinite(this.file, tensor.name, weight);
    return weight;
  }

  #readWeight(tensor: GgufTensor, type: string, rows: number, columns: number, order: Uint32Array | null) {
    if (isRepacked(type)) return this.#quantized(tensor, type, rows, columns, order);
    if (FLOAT_DTYPES.has(type) || !isReadType(type)) return this.#matrix(tensor, rows, columns, order);
    using held = this.#blocks(tensor);
    const blocks = memoryOf(held, 0, tensor.bytes);
    if (isGrouped(type)) return this.#grouped(groupBlocks(type, blocks), rows, columns, order);
    if (isMxfp4(type)) return this.#smallFloats(mxfp4Groups(blocks), rows, columns, order);
    assert(isSixteen(type), "every type that is read has its way");
    return this.#requantized(dequantizeBlocks(type, blocks), rows, columns, order);
  }

  picked(name: string, rows: number, columns: number, picks: readonly (readonly number[])[]): Linear[] {
    return this.#keeper.pick(this.linear(name, rows, columns, false), picks);
  }

  taps(name: string, channels: number, taps: number): MlxArray {
    using flat = this.#vector(this.#architecture.tensorName(`${name}.weight`), [channels, taps]);
    using turned = transpose(flat, [1, 0]);
    return this.#keeper.keep(inRows(turned));
  }

  experts({ whole, each }: ExpertNames, count: number, rows: number, columns: number, bias: boolean): Experts {
    const weight = this.#expertWeight(this.#architecture.tensorName(`${whole}.weight`), count, rows, columns);
    const stacked = (array: MlxArray) => this.#keeper.view(reshape(array, [count, rows, -1]));
    const biases = bias ? this.#vector(this.#architecture.tensorName(`${whole}.bias`), [count, rows]) : null;
    const kept = biases && this.#keeper.keep(biases);
    const expert_target = { name: whole, count, rows, columns, each };
    if (weight.kind === "dense") {
      const turned = this.#keeper.view(transpose(stacked(weight.weight), [0, 2, 1]));
      return { kind: "dense", turned, bias: kept, expert_target };
    }
    const groups = { weight: stacked(weight.weight), scales: stacked(weight.scales) };
    return { ...weight, ...groups, biases: weight.biases && stacked(weight.biases), bias: kept, expert_target };
  }

  #expertWeight(name: string, count: number, rows: number, columns: number): Matrix {
    const fused = name.replace(/\.ffn_(?:gate|up)_exps\./, ".ffn_gate_up_exps.");
    if (this.#tensors.has(name) || !this.#tensors.has(fused)) {
      const tensor = this.#tensor(name, [count, rows, columns]);
      return this.#weight(tensor, tensor.type, count * rows, columns, null);
    }
    const [gate, up] = this.#fused.get(fused) ?? this.#readFused(fused, count, rows, columns);
    this.#fused.set(fused, [gate, up]);
    return name.includes(".ffn_gate_") ? gate : up;
  }

  /** Of each expert the rows of its gate, then those of up. */
  #readFused(name: string, count: number, rows: number, columns: number): readonly [Matrix, Matrix] {
    const tensor = this.#tensor(name, [count, 2 * rows, columns]);
    const weight = this.#weight(tensor, tensor.type, count * 2 * rows, columns, null);
    const target = { name, rows: count * 2 * rows, columns, picked: null };
    const [gate, up] = this.#keeper.pick({ ...weight, bias: null, target }, inTurns(count, [rows, rows]));
    assert(gate !== undefined && up !== undefined, "as many parts as were asked for");
    return [gate, up];
  }

  dense(tensor: GgufTensor): MlxArray {
    const name = this.#architecture.publishedName(tensor.name) ?? tensor.name;
    const columns = tensor.shape.length === 1 ? 1 : (tensor.shape.at(-1) ?? 1);
    const rows = tensor.shape.reduce((product, size) => product * size, 1) / columns;
    const paired = this.#architecture.pairedHeads(name.replace(/\.(?:weight|bias)$/, ""));
    const order = paired === null ? null : unpairedRows(paired, rows / paired);
    const weight = this.#weight(tensor, tensor.type, rows, columns, order);
    using floats = floatsOf(weight);
    const dense = reshape(floats, tensor.shape);
    const before = this.#architecture.before(name);
    if (before !== null) return this.#undone(tensor.name, dense, before);
    if (!(this.#architecture.norms_have_one && /norm\.weight$/.test(name))) return dense;
    using given = dense;
    return plus(given, -1);
  }

  release(): void {
    for (const file of this.#files.values()) file.dispose();
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.release();
    this.#keeper[Symbol.dispose]();
  }

  #quantized(tensor: GgufTensor, type: RepackedType, rows: number, columns: number, order: Uint32Array | null) {
    const { words, scales, biases } = hasExtras()
      ? this.#repackInPlace(tensor, type, rows, columns, order)
      : this.#repack(tensor, type, rows, columns, order);
    return {
      kind: "quantized",
      weight: this.#keeper.keep(words),
      scales: this.#keeper.keep(scales),
      biases: this.#keeper.keep(biases),
      how: { mode: "affine", group_size: GROUP_SIZE, bits: type === "Q8_0" ? 8 : 4 },
    } as const;
  }

  #grouped(groups: FloatGroups, rows: number, columns: number, order: Uint32Array | null) {
    const { bits } = groups;
    const place = <Part extends Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>>(part: Part) =>
      order === null ? part : takeRows(part, order);
    const each = [rows, columns / GROUP_SIZE];
    return {
      kind: "quantized",
      weight: this.#keeper.keep(fromBytes(place(groups.packed), [rows, (columns * bits) / 32], "uint32")),
      scales: this.#keeper.keep(fromBytes(place(groups.scales), each, "float32")),
      biases: this.#keeper.keep(fromBytes(place(groups.biases), each, "float32")),
      how: { mode: "affine", group_size: GROUP_SIZE, bits },
    } as const;
  }

  /** Groups of sixteen are no form MLX has: two together are rounded to 8 bits. */
  #requantized(values: Float32Array<ArrayBuffer>, rows: number, columns: number, order: Uint32Array | null) {
    using dense = fromBytes(order === null ? values : takeRows(values, order), [rows, columns], "float32");
    const how = { mode: "affine", group_size: GROUP_SIZE, bits: 8 } as const;
    const [weight, scales, biases] = quantize(dense, how).map((part) => this.#keeper.keep(part));
    assert(weight !== undefined && scales !== undefined && biases !== undefined, "affine groups are three arrays");
    return { kind: "quantized", weight, scales, biases, how } as const;
  }

  #repackInPlace(tensor: GgufTensor, type: RepackedType, rows: number, columns: number, order: Uint32Array | null) {
    using blocks = this.#blocks(tensor);
    return repackBlocks(type, blocks, rows, columns, order);
  }

  #repack(tensor: GgufTensor, type: RepackedType, rows: number, columns: number, order: Uint32Array | null) {
    const groups = repack(type, this.#read(tensor), rows, columns);
    const place = <Matrix extends AffineGroups["packed"] | AffineGroups["scales"]>(matrix: Matrix) =>
      order === null ? matrix : takeRows(matrix, order);
    return {
      words: fromBytes(place(groups.packed), [rows, (columns * groups.bits) / 32], "uint32"),
      scales: this.#scales(place(groups.scales), rows),
      biases: this.#scales(place(groups.biases), rows),
    };
  }

  /** As stored on the CPU, whose kernels compute with them exactly; elsewhere MLX would round most of the weights. */
  #scales(halves: Uint16Array, rows: number): MlxArray {
    const as_stored = fromBytes(halves, [rows, halves.length / rows], "float16");
    if (library().device === "cpu") return as_stored;
    using given_up = as_stored;
    return astype(given_up, "float32");
  }

  #smallFloats(groups: Mxfp4Groups, rows: number, columns: number, order: Uint32Array | null) {
    const how = SMALL_FLOATS.mxfp4;
    const place = (part: Uint8Array<ArrayBuffer>) => (order === null ? part : takeRows(part, order));
    return {
      kind: "quantized",
      weight: this.#keeper.keep(fromBytes(place(groups.packed), [rows, (columns * how.bits) / 32], "uint32")),
      scales: this.#keeper.keep(fromBytes(place(groups.scales), [rows, columns / how.group_size], "uint8")),
      biases: null,
      how,
    } as const;
  }

  #matrix(tensor: GgufTensor, rows: number, columns: number, order: Uint32Array | null) {
    const weight = this.#keeper.keep(this.#dense(tensor, [rows, columns], order));
    return { kind: "dense", weight, transposed: this.#keeper.view(transpose(weight, [1, 0])) } as const;
  }

  #vector(name: string, shape: readonly number[], order: Uint32Array | null = null): MlxArray {
    using dense = this.#dense(this.#tensor(name, shape), shape, order);
    return toActivationDtype(dense);
  }

  /** What the vector was made of, in its place. */
  #undone(name: string, vector: MlxArray, before: (stored: number) => number): MlxArray {
    using given = vector;
    using floats = astype(given, "float32");
    const values = toFloat32(floats).map(before);
    const odd = values.findIndex(Number.isNaN);
    if (odd < 0) return fromBytes(values, given.shape, "float32");
    const state = `number ${odd} of tensor "${name}" is ${toFloat32(floats)[odd]}, which its architecture cannot have`;
    throw new Failure("unavailable", `Cannot load ${this.file}: ${state}`);
  }

  /** As stored: kernels read halves in place. */
  #dense(tensor: GgufTensor, shape: readonly number[], order: Uint32Array | null = null): MlxArray {
    const dtype = FLOAT_DTYPES.get(tensor.type);
    if (dtype === undefined) {
      const state = `tensor "${tensor.name}" is ${tensor.type}, known are ${READ_TYPES.join(", ")}`;
      throw new Failure("unsupported", `Cannot load ${this.file}: ${state}`);
    }
    if (order === null) return stored(this.#file(tensor), tensor, shape, dtype);
    return fromBytes(takeRows(this.#read(tensor), order), shape, dtype);
  }

  #floats(name: string, size: number): readonly number[] | null {
    if (!this.#tensors.has(name)) return null;
    using dense = this.#dense(this.#tensor(name, [size]), [size]);
    using array = astype(dense, "float32");
    return [...toFloat32(array)];
  }

  /** A matrix of one row may lie there as a vector. */
  #matrixTensor(name: string, rows: number, columns: number): GgufTensor {
    const is_vector = rows === 1 && this.#tensors.get(name)?.shape.length === 1;
    return this.#tensor(name, is_vector ? [columns] : [rows, columns]);
  }

  #tensor(name: string, shape: readonly number[]): GgufTensor {
    const tensor = this.#tensors.get(name);
    this.#asked.add(name);
    if (tensor !== undefined && tensor.shape.join() === shape.join()) return tensor;
    const found = tensor === undefined ? "no such tensor" : `shape [${tensor.shape}]`;
    throw new Failure(
      "unsupported",
      `Cannot load ${this.file}: tensor "${name}" must have shape [${shape}], found ${found}`,
    );
  }

  #blocks(tensor: GgufTensor): MlxArray {
    return stored(this.#file(tensor), tensor, [tensor.bytes], "uint8");
  }

  #read(tensor: GgufTensor): Uint8Array<ArrayBuffer> {
    return this.#file(tensor).read(tensor.offset, tensor.bytes, `tensor "${tensor.name}"`);
  }

  #file({ file: path }: GgufTensor): FileBytes {
    const file = this.#files.get(path) ?? new FileBytes(path);
    this.#files.set(path, file);
    return file;
  }
}

/** In float32, in which every block is exact. */
function floatsOf(weight: Matrix): MlxArray {
  if (weight.kind === "dense") return astype(weight.weight, "float32");
  const { scales, biases } = weight;
  if (biases === null) return dequantize(weight.weight, scales, null, weight.how);
  using float_scales = astype(scales, "float32");
  using float_biases = astype(biases, "float32");
  return dequantize(weight.weight, float_scales, float_biases, weight.how);
}
