/** The weights of a Hugging Face folder, dense or in MLX's quantised form. Checks every tensor against what the family expects. */

import { Failure } from "../core/failure.ts";
import { FileBytes } from "../formats/file-bytes.ts";
import { readSafetensorsFolder, type SafetensorsTensor } from "../formats/safetensors.ts";
import { fromBytes, type MlxArray } from "../mlx/array.ts";
import { type Quantization, transpose } from "../mlx/ops.ts";
import type { ModelConfig } from "./config.ts";
import { FLOAT_DTYPES, toActivationDtype } from "./dense.ts";
import type { Linear } from "./layers.ts";
import { quantizationOf, refuseForeignQuantization } from "./quantization.ts";
import { ArrayKeeper, type Weights } from "./weights.ts";

export function openSafetensors(folder: string, config: ModelConfig, told: (bytes: number) => void): Weights {
  return new SafetensorsWeights(folder, config, told);
}

class SafetensorsWeights implements Weights {
  readonly file: string;
  readonly #config: ModelConfig;
  readonly #tensors: ReadonlyMap<string, SafetensorsTensor>;
  readonly #files = new Map<string, FileBytes>();
  readonly #keeper: ArrayKeeper;

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

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  vector(name: string, size: number): MlxArray {
    using stored = this.#dense(name, [size]);
    return this.#keeper.keep(toActivationDtype(stored));
  }

  linear(name: string, rows: number, columns: number, bias: boolean): Linear {
    const how = this.has(`${name}.scales`) ? quantizationOf(this.#config, name, this.file) : null;
    const weight = how === null ? this.#matrix(name, rows, columns) : this.#quantized(name, rows, columns, how);
    return { ...weight, bias: bias ? this.vector(`${name}.bias`, rows) : null };
  }

  release(): void {
    for (const file of this.#files.values()) file.dispose();
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.release();
    this.#keeper[Symbol.dispose]();
  }

  #matrix(name: string, rows: number, columns: number) {
    const weight = this.#keeper.keep(this.#dense(`${name}.weight`, [rows, columns]));
    return { kind: "dense", weight, transposed: this.#keeper.view(transpose(weight, [1, 0])) } as const;
  }

  #quantized(name: string, rows: number, columns: number, how: Quantization) {
    const words = (columns * how.bits) / 32;
    const groups = columns / how.group_size;
    if (!(Number.isInteger(words) && Number.isInteger(groups))) {
      const state = `tensor "${name}.weight" has rows of ${columns}, which ${how.bits} bits in groups of ${how.group_size} do not divide`;
      throw new Failure("unsupported", `Cannot load ${this.file}: ${state}`);
    }
    const packed = this.#tensor(`${name}.weight`, [rows, words], (dtype) => dtype === "U32", "U32");
    return {
      kind: "quantized",
      weight: this.#keeper.keep(fromBytes(this.#read(packed), packed.shape, "uint32")),
      scales: this.#keeper.keep(this.#dense(`${name}.scales`, [rows, groups])),
      biases: this.#keeper.keep(this.#dense(`${name}.biases`, [rows, groups])),
      how,
    } as const;
  }

  /** As stored: kernels read halves in place. */
  #dense(name: string, shape: readonly number[]): MlxArray {
    const tensor = this.#tensor(name, shape, (dtype) => FLOAT_DTYPES.has(dtype), "F32, F16 or BF16");
    return fromBytes(this.#read(tensor), shape, FLOAT_DTYPES.get(tensor.dtype) ?? "float32");
  }

  #tensor(
    name: string,
    shape: readonly number[],
    accepts: (dtype: string) => boolean,
    accepted: string,
  ): SafetensorsTensor {
    const tensor = this.#tensors.get(name);
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
    const file = this.#files.get(tensor.file) ?? new FileBytes(tensor.file);
    this.#files.set(tensor.file, file);
    return file.read(tensor.offset, tensor.bytes, `tensor "${tensor.name}"`);
  }
}
