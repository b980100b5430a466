/** The weights of a Hugging Face folder, dense or in MLX's quantised form. Checks every tensor against what the family expects. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { FileBytes } from "../formats/file-bytes.ts";
import { readSafetensorsFolder, type SafetensorsTensor } from "../formats/safetensors.ts";
import { type Dtype, fromBytes, inRows, type MlxArray } from "../mlx/array.ts";
import { type Quantization, reshape, take, transpose } from "../mlx/ops.ts";
import type { ModelConfig } from "./config.ts";
import { FLOAT_DTYPES, stored, toActivationDtype } from "./dense.ts";
import { refuseNonFinite } from "./finite.ts";
import { type Experts, type Linear, plus } from "./layers.ts";
import { quantizationOf, refuseForeignQuantization, SMALL_FLOATS } from "./quantization.ts";
import { ArrayKeeper, type ExpertNames, leftOver, type Weights } from "./weights.ts";

export function openSafetensors(folder: string, config: ModelConfig, told: (bytes: number) => void): Weights {
  return new SafetensorsWeights(folder, config, told);
}

/** Of one shape and dtype. */
type Tensors = readonly [SafetensorsTensor, ...SafetensorsTensor[]];

class SafetensorsWeights implements Weights {
  readonly file: string;
  readonly #config: ModelConfig;
  readonly #tensors: ReadonlyMap<string, SafetensorsTensor>;
  readonly #files = new Map<string, FileBytes>();
  readonly #keeper: ArrayKeeper;
  readonly #asked = new Set<string>();

  constructor(folder: string, config: ModelConfig, told: (bytes: number) => void) {
    this.#keeper = new ArrayKeeper(told);
    this.file = folder;
    this.#config = config;
    refuseForeignQuantization(config, folder);
    this.#tensors = readSafetensorsFolder(folder);
  }

  get bytes_resident(): number {
    return this.#keeper.bytes_resident;
  }

  get left_over(): string | null {
    return leftOver(this.#tensors.keys(), this.#asked);
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  vector(name: string, size: number, more = 0): MlxArray {
    using dense = this.#dense([name], [size]);
    const vector = toActivationDtype(dense);
    if (more === 0) return this.#keeper.keep(vector);
    using given = vector;
    return this.#keeper.keep(plus(given, more));
  }

  linear(name: string, rows: number, columns: number, bias: boolean): Linear {
    const how = this.#quantizationOf(name);
    const weight =
      how === null
        ? this.#matrix(name, rows, columns)
        : ({ kind: "quantized", ...this.#groups([name], [], rows, columns, how) } as const);
    const target = { name, rows, columns, picked: null };
    return { ...weight, bias: bias ? this.vector(`${name}.bias`, rows) : null, target };
  }

  experts(stack: ExpertNames, count: number, rows: number, columns: number, bias: boolean): Experts {
    const { blocks } = stack;
    const expert_target = { name: stack.whole, count, rows, columns, each: stack.each };
    if (blocks !== undefined && this.has(`${blocks.name}_blocks`)) {
      return { ...this.#expertBlocks(blocks, count, rows, columns, bias), expert_target };
    }
    const whole = this.has(`${stack.whole}.weight`);
    const names = whole ? [stack.whole] : Array.from({ length: count }, (_, expert) => stack.each(expert));
    const how = this.#quantizationOf(names[0] ?? stack.whole);
    const biases = bias
      ? this.#keeper.keep(
          this.#active(
            names.map((name) => `${name}.bias`),
            whole,
            count,
            [rows],
          ),
        )
      : null;
    if (how !== null) {
      return { kind: "quantized", ...this.#groups(names, [count], rows, columns, how), bias: biases, expert_target };
    }
    const dense = this.#dense(
      names.map((name) => `${name}.weight`),
      whole ? [count, rows, columns] : [rows, columns],
    );
    using weight = reshape(dense, [count, rows, columns]);
    dense[Symbol.dispose]();
    return { kind: "dense", turned: this.#keeper.keep(transpose(weight, [0, 2, 1])), bias: biases, expert_target };
  }

  linears(name: string, rows: readonly number[], columns: number, bias: boolean): Linear[] {
    const all = rows.reduce((sum, each) => sum + each, 0);
    return this.#keeper.split(this.linear(name, all, columns, bias), rows);
  }

  picked(name: string, rows: number, columns: number, picks: readonly (readonly number[])[]): Linear[] {
    return this.#keeper.pick(this.linear(name, rows, columns, false), picks);
  }

  /** Published as (channels, 1, taps), by MLX as (channels, taps, 1): the same in memory. */
  taps(name: string, channels: number, taps: number): MlxArray {
    const tensor = `${name}.weight`;
    const is_mlx = this.#tensors.get(tensor)?.shape[2] === 1;
    using stored = this.#active([tensor], false, 1, is_mlx ? [channels, taps, 1] : [channels, 1, taps]);
    using flat = reshape(stored, [channels, taps]);
    using turned = transpose(flat, [1, 0]);
    return this.#keeper.keep(inRows(turned));
  }

  release(): void {
    for (const file of this.#files.values()) file.dispose();
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.release();
    this.#keeper[Symbol.dispose]();
  }

  #quantizationOf(name: string): Quantization | null {
    return this.has(`${name}.scales`) ? quantizationOf(this.#config, name, this.file) : null;
  }

  #matrix(name: string, rows: number, columns: number) {
    const weight = this.#keeper.keep(this.#dense([`${name}.weight`], [rows, columns]));
    return { kind: "dense", weight, transposed: this.#keeper.view(transpose(weight, [1, 0])) } as const;
  }

  /** Quantised rows: of one matrix, or of `lead` matrices that lie in one tensor or in one each. */
  #groups(names: readonly string[], lead: readonly number[], rows: number, columns: number, how: Quantization) {
    const words = (columns * how.bits) / 32;
    const groups = columns / how.group_size;
    if (!(Number.isInteger(words) && Number.isInteger(groups))) {
      const state = `tensor "${names[0]}.weight" has rows of ${columns}, which ${how.bits} bits in groups of ${how.group_size} do not divide`;
      throw new Failure("unsupported", `Cannot load ${this.file}: ${state}`);
    }
    const each = names.length === 1 ? [...lead, rows] : [rows];
    const of = (part: string) => names.map((name) => `${name}.${part}`);
    const packed = this.#find(of("weight"), [...each, words], (dtype) => dtype === "U32", "U32");
    const weight = this.#keeper.keep(this.#array(packed, [...lead, rows, words], "uint32"));
    if (how.mode !== "affine") {
      this.#refuseWholeScale(names);
      const bytes = this.#find(of("scales"), [...each, groups], (dtype) => dtype === "U8", "U8");
      const scales = this.#keeper.keep(this.#array(bytes, [...lead, rows, groups], "uint8"));
      return this.#sound(names, { weight, scales, biases: null, how });
    }
    const floats = (part: string) => {
      using dense = this.#dense(of(part), [...each, groups]);
      return this.#keeper.keep(reshape(dense, [...lead, rows, groups]));
    };
    return this.#sound(names, { weight, scales: floats("scales"), biases: floats("biases"), how });
  }

  #sound<Weight extends Parameters<typeof refuseNonFinite>[2]>(names: readonly string[], weight: Weight): Weight {
    refuseNonFinite(this.file, names[0] ?? "", weight);
    return weight;
  }

  /** Of nvfp4: a factor for a matrix as a whole. */
  #refuseWholeScale(names: readonly string[]): void {
    const name = names.find((each) => this.has(`${each}.global_scale`));
    if (name === undefined) return;
    const state = `tensor "${name}.global_scale" scales a matrix as a whole, which is not computed`;
    throw new Failure("unsupported", `Cannot load ${this.file}: ${state}`);
  }

  #active(names: readonly string[], whole: boolean, count: number, shape: readonly number[]): MlxArray {
    using dense = this.#dense(names, whole ? [count, ...shape] : shape);
    using active = toActivationDtype(dense);
    return reshape(active, [count, ...shape]);
  }

  #expertBlocks(
    { name, first, step }: NonNullable<ExpertNames["blocks"]>,
    count: number,
    rows: number,
    columns: number,
    bias: boolean,
  ): Omit<Extract<Experts, { kind: "quantized" }>, "expert_target"> {
    const how = SMALL_FLOATS.mxfp4;
    const groups = columns / how.group_size;
    const all = [count, rows * step];
    const read = (part: string, shape: readonly number[]) =>
      everyRow(
        this.#join(this.#find([`${name}_${part}`], shape, (dtype) => dtype === "U8", "U8")),
        count * rows,
        first,
        step,
      );
    const nibbles = read("blocks", [...all, groups, (how.group_size * how.bits) / 8]);
    const words = (columns * how.bits) / 32;
    const weight = this.#sound([name], {
      weight: this.#keeper.keep(fromBytes(nibbles, [count, rows, words], "uint32")),
      scales: this.#keeper.keep(fromBytes(read("scales", [...all, groups]), [count, rows, groups], "uint8")),
      biases: null,
      how,
    });
    if (!bias) return { kind: "quantized", ...weight, bias: null };
    using all_biases = this.#active([`${name}_bias`], true, count, [rows * step]);
    const numbers = Int32Array.from({ length: rows }, (_, row) => first + row * step);
    using wanted = fromBytes(numbers, [rows], "int32");
    return { kind: "quantized", ...weight, bias: this.#keeper.keep(take(all_biases, wanted, 1)) };
  }

  /** As stored: kernels read halves in place. Several tensors of one shape lie one behind the other. */
  #dense(names: readonly string[], shape: readonly number[]): MlxArray {
    const tensors = this.#find(names, shape, (dtype) => FLOAT_DTYPES.has(dtype), "F32, F16 or BF16");
    const [first = 1, ...rest] = shape;
    return this.#array(tensors, [first * names.length, ...rest], FLOAT_DTYPES.get(tensors[0].dtype) ?? "float32");
  }

  /** In the file where it is one tensor. */
  #array(tensors: Tensors, shape: readonly number[], dtype: Dtype): MlxArray {
    const [tensor, ...others] = tensors;
    if (others.length > 0) return fromBytes(this.#join(tensors), shape, dtype);
    return stored(this.#file(tensor), tensor, shape, dtype);
  }

  #join(tensors: Tensors): Uint8Array {
    const [first, ...others] = tensors;
    if (others.length === 0) return this.#read(first);
    const bytes = new Uint8Array(first.bytes * tensors.length);
    for (const [place, tensor] of tensors.entries()) bytes.set(this.#read(tensor), place * first.bytes);
    return bytes;
  }

  #find(
    names: readonly string[],
    shape: readonly number[],
    accepts: (dtype: string) => boolean,
    accepted: string,
  ): Tensors {
    const [first, ...others] = names.map((name) => this.#tensor(name, shape, accepts, accepted));
    assert(first !== undefined, "there is a tensor to read");
    const differing = others.find((tensor) => tensor.dtype !== first.dtype);
    if (differing === undefined) return [first, ...others];
    throw this.#refusal(differing.name, `dtype ${first.dtype}`, `dtype ${differing.dtype}`);
  }

  #tensor(
    name: string,
    shape: readonly number[],
    accepts: (dtype: string) => boolean,
    accepted: string,
  ): SafetensorsTensor {
    const tensor = this.#tensors.get(name);
    this.#asked.add(name);
    if (tensor === undefined) throw this.#refusal(name, `shape [${shape}]`, "no such tensor");
    if (tensor.shape.join() !== shape.join()) throw this.#refusal(name, `shape [${shape}]`, `shape [${tensor.shape}]`);
    if (!accepts(tensor.dtype)) throw this.#refusal(name, `dtype ${accepted}`, `dtype ${tensor.dtype}`);
    return tensor;
  }

  #refusal(name: string, expected: string, found: string): Failure {
    const file = this.#tensors.get(name)?.file ?? this.file;
    return new Failure("unsupported", `Cannot load ${file}: tensor "${name}" must have ${expected}, found ${found}`);
  }

  #read(tensor: SafetensorsTensor): Uint8Array {
    return this.#file(tensor).read(tensor.offset, tensor.bytes, `tensor "${tensor.name}"`);
  }

  #file(tensor: SafetensorsTensor): FileBytes {
    const file = this.#files.get(tensor.file) ?? new FileBytes(tensor.file);
    this.#files.set(tensor.file, file);
    return file;
  }
}

/** Of `bytes` in rows, `count` of them: every `step`th from `first` on. */
function everyRow(bytes: Uint8Array, count: number, first: number, step: number): Uint8Array {
  if (step === 1) return bytes;
  const row_bytes = bytes.length / (count * step);
  const rows = new Uint8Array(count * row_bytes);
  for (let row = 0; row < count; row++) {
    const from = (first + row * step) * row_bytes;
    rows.set(bytes.subarray(from, from + row_bytes), row * row_bytes);
  }
  return rows;
}
