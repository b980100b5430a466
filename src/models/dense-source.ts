/**
 * A model's weights one tensor after the other, dense and under the names mlx-lm knows, whatever files they lie in.
 * Writes nothing.
 */

import { cpSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";
import { FileBytes } from "../formats/file-bytes.ts";
import { fp8ToBfloat16 } from "../formats/fp8-blocks.ts";
import { readSafetensorsFolder, type SafetensorsTensor } from "../formats/safetensors.ts";
import { evaluate, memoryOf } from "../mlx/array.ts";
import { astype } from "../mlx/ops.ts";
import { type ModelConfig, readConfig } from "./config.ts";
import { publishedGguf } from "./gguf-published.ts";
import { fp8Block, refuseForeignQuantization } from "./quantization.ts";

export interface DenseTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Row-major, in `dtype`. */
  read(): Uint8Array;
}

export interface DenseSource extends Disposable {
  readonly path: string;
  readonly config: ModelConfig;
  readonly tensors: readonly DenseTensor[];
  /** Puts what else belongs to the model beside its weights. */
  copyRest(target: string): void;
}

/** `path`: a Hugging Face folder or a GGUF file; `rest`: files for which a GGUF file has no place of their own. */
export function openDenseSource(path: string, rest: ReadonlyMap<string, string> = new Map()): DenseSource {
  return statSync(path).isDirectory() ? new FolderSource(path) : ofGguf(path, rest);
}

class FolderSource implements DenseSource {
  readonly path: string;
  readonly config: ModelConfig;
  readonly tensors: readonly DenseTensor[];
  readonly #files = new Map<string, FileBytes>();

  constructor(path: string) {
    this.path = path;
    this.config = configOf(path);
    const all = readSafetensorsFolder(path);
    const block = fp8Block(this.config);
    const scaleOf = (name: string) => (block === null ? undefined : all.get(`${name}_scale_inv`));
    const scales = new Set([...all.keys()].map((name) => scaleOf(name)?.name));
    const weights = new Map([...all].filter(([name]) => !scales.has(name)));
    this.tensors = stacked(weights).map(({ name, tensors, shape, dtype }) => {
      const size = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
      if (dtype !== "F8_E4M3") return { name, dtype, shape, bytes: size, read: () => this.#read(tensors, size) };
      const read = () => Buffer.concat(tensors.map((tensor) => this.#readFp8(tensor, scaleOf(tensor.name), block)));
      return { name, dtype: "BF16", shape, bytes: 2 * size, read };
    });
  }

  copyRest(target: string): void {
    for (const name of readdirSync(this.path)) {
      if (!/\.safetensors(?:\.index\.json)?$|^config\.json$|\.(?:bin|gguf|pth|pt)$/.test(name)) {
        cpSync(join(this.path, name), join(target, name), { recursive: true, dereference: true });
      }
    }
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file.dispose();
  }

  #read(tensors: readonly SafetensorsTensor[], size: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(size);
    let end = 0;
    for (const { file, name, offset, bytes: own } of tensors) {
      this.#open(file).readInto(bytes.subarray(end, end + own), offset, `tensor "${name}"`);
      end += own;
    }
    return bytes;
  }

  #readFp8(
    tensor: SafetensorsTensor,
    scale: SafetensorsTensor | undefined,
    block: readonly [number, number] | null,
  ): Uint8Array {
    const [rows = 0, columns = 0] = tensor.shape;
    const [block_rows, block_columns] = block ?? [1, 1];
    const expected = [Math.ceil(rows / block_rows), Math.ceil(columns / block_columns)];
    if (scale === undefined || scale.shape.join() !== expected.join() || !FP8_SCALES.has(scale.dtype)) {
      const found = scale === undefined ? "no such tensor" : `${scale.dtype} of shape [${scale.shape}]`;
      const state = `tensor "${tensor.name}_scale_inv" must be F32 or BF16 of shape [${expected}], found ${found}`;
      throw new Failure("unsupported", `Cannot quantise ${this.path}: ${state}`);
    }
    const scales = this.#floats(scale);
    const values = this.#read([tensor], tensor.bytes);
    const halves = fp8ToBfloat16({ values, rows, columns, scales, block_rows, block_columns });
    return new Uint8Array(halves.buffer);
  }

  #floats(tensor: SafetensorsTensor): Float32Array {
    const bytes = this.#read([tensor], tensor.bytes).buffer;
    if (tensor.dtype === "F32") return new Float32Array(bytes);
    return new Float32Array(Uint32Array.from(new Uint16Array(bytes), (half) => half << 16).buffer);
  }

  #open(path: string): FileBytes {
    const file = this.#files.get(path) ?? new FileBytes(path);
    this.#files.set(path, file);
    return file;
  }
}

/** What the scales of blocks in E4M3 are published in. */
const FP8_SCALES = new Set(["F32", "BF16"]);

function configOf(folder: string): ModelConfig {
  const config = readConfig(folder);
  if (fp8Block(config) !== null) return config;
  refuseForeignQuantization(config, folder);
  if (config["quantization"] === undefined && config["quantization_config"] === undefined) return config;
  throw new Failure("invalid_request", `Cannot quantise ${folder}: it is quantised already`);
}

/** Tensors of one shape that become one: most often a single one. */
interface Group {
  readonly name: string;
  readonly tensors: readonly SafetensorsTensor[];
  /** The shape of all together. */
  readonly shape: readonly number[];
  readonly dtype: string;
}

/** mlx-lm wants the experts of a layer in one tensor, under its own names. */
function stacked(tensors: ReadonlyMap<string, SafetensorsTensor>): readonly Group[] {
  const groups = new Map<string, SafetensorsTensor[]>();
  for (const tensor of tensors.values()) {
    const [, prefix, expert, projection = ""] =
      /^(.*)\.experts\.(\d+)\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.weight$/.exec(tensor.name) ?? [];
    const own = EXPERT_NAMES.get(projection) ?? projection;
    const name = expert === undefined ? tensor.name : `${prefix}.switch_mlp.${own}.weight`;
    const group = groups.get(name) ?? [];
    group[Number(expert ?? 0)] = tensor;
    groups.set(name, group);
  }
  return [...groups].map(([name, group]) => {
    const [first] = group;
    const missing = Array.from(group).findIndex((tensor) => tensor?.shape.join() !== first?.shape.join());
    if (first === undefined || missing >= 0) {
      const state = `of its experts number ${Math.max(0, missing)} is missing or has another shape`;
      throw new Failure("unavailable", `Cannot quantise "${name}": ${state}`);
    }
    const { shape, dtype } = first;
    return { name, tensors: group, shape: name === first.name ? shape : [group.length, ...shape], dtype };
  });
}

const EXPERT_NAMES: ReadonlyMap<string, string> = new Map([
  ["w1", "gate_proj"],
  ["w2", "down_proj"],
  ["w3", "up_proj"],
]);

/** In bfloat16, as models are published: a GGUF file does not say what its weights were. */
function ofGguf(path: string, rest: ReadonlyMap<string, string>): DenseSource {
  const { config, tensors } = publishedGguf(path);
  return {
    path,
    config,
    tensors: tensors.map(({ name, shape, dense }) => ({
      name,
      shape,
      dtype: "BF16",
      bytes: 2 * shape.reduce((product, size) => product * size, 1),
      read() {
        using floats = dense();
        using halves = astype(floats, "bfloat16");
        evaluate(halves);
        return memoryOf(halves, 0, halves.bytes).slice();
      },
    })),
    copyRest(target) {
      for (const [name, text] of rest) writeFileSync(join(target, name), text);
    },
    [Symbol.dispose]: () => undefined,
  };
}
