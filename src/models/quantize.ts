/** Writes a dense model folder as one in MLX's quantised form, as mlx-lm reads it. Matrices one by one; nothing is there before all is. */

import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { FileBytes } from "../formats/file-bytes.ts";
import { asObject, readJson } from "../formats/json.ts";
import { readSafetensorsFolder, type SafetensorsTensor } from "../formats/safetensors.ts";
import { type PlannedTensor, SafetensorsWriter } from "../formats/safetensors-writer.ts";
import { evaluate, fromBytes, memoryOf } from "../mlx/array.ts";
import { type Quantization, quantize } from "../mlx/ops.ts";
import type { ModelConfig } from "./config.ts";
import { FLOAT_DTYPES } from "./dense.ts";
import { checkForm, refuseForeignQuantization } from "./quantization.ts";

/** `told` how many bytes of the source are done, and of how many. Throws a `Failure`; then the target is as it was. */
export function quantizeFolder(
  source: string,
  target: string,
  how: Quantization,
  told: (done_bytes: number, total_bytes: number) => void,
): void {
  const config = configOf(source);
  checkForm(how, source);
  if (existsSync(target)) throw new Failure("invalid_request", `Cannot write ${target}: it is there already`);
  const groups = stacked(readSafetensorsFolder(source)).map((group) => planned(group, how));
  const partial = `${resolve(target)}.partial-${process.pid}`;
  mkdirSync(partial, { recursive: true });
  try {
    writeShards(partial, groups, how, told);
    for (const name of readdirSync(source)) {
      if (!/\.safetensors(?:\.index\.json)?$|^config\.json$|\.(?:bin|gguf|pth|pt)$/.test(name)) {
        cpSync(join(source, name), join(partial, name), { recursive: true, dereference: true });
      }
    }
    const { mode, bits, group_size } = how;
    const quantization = { group_size, bits, mode };
    const written = { ...config, quantization, quantization_config: quantization };
    writeFileSync(join(partial, "config.json"), `${JSON.stringify(written, null, 2)}\n`);
    renameSync(partial, target);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

// As large as what others publish, so that tools which read a shard at once can.
const SHARD_BYTES_MAX = 5e9;

/** Tensors of one shape that become one: most often a single one. */
interface Group {
  readonly name: string;
  readonly tensors: readonly SafetensorsTensor[];
  /** The shape of all together. */
  readonly shape: readonly number[];
}

interface PlannedGroup extends Group {
  readonly is_quantized: boolean;
  readonly parts: readonly PlannedTensor[];
}

function configOf(folder: string): ModelConfig {
  const config = asObject(readJson(join(folder, "config.json")));
  if (config === null) throw new Failure("unavailable", `Cannot load ${folder}/config.json: it is not a JSON object`);
  refuseForeignQuantization(config, folder);
  if (config["quantization"] === undefined && config["quantization_config"] === undefined) return config;
  throw new Failure("invalid_request", `Cannot quantise ${folder}: it is quantised already`);
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
    const { shape } = first;
    return { name, tensors: group, shape: name === first.name ? shape : [group.length, ...shape] };
  });
}

const EXPERT_NAMES: ReadonlyMap<string, string> = new Map([
  ["w1", "gate_proj"],
  ["w2", "down_proj"],
  ["w3", "up_proj"],
]);

/** Matrices of projections and embeddings; routers, which are small and decide much, stay as they are. */
function planned(group: Group, how: Quantization): PlannedGroup {
  const { name, shape, tensors } = group;
  const [first] = tensors;
  assert(first !== undefined, "a group has a tensor");
  const columns = shape.at(-1) ?? 0;
  const is_matrix = name.endsWith(".weight") && shape.length >= 2 && FLOAT_DTYPES.has(first.dtype);
  const is_kept = /(?:\.gate|\.router|norm|conv1d?|\.conv)\.weight$/.test(name) || columns % how.group_size !== 0;
  if (!is_matrix || is_kept) {
    const bytes = first.bytes * tensors.length;
    return { ...group, is_quantized: false, parts: [{ name, dtype: first.dtype, shape, bytes }] };
  }
  const rows = shape.slice(0, -1);
  const count = rows.reduce((product, size) => product * size, 1);
  const stem = name.replace(/\.weight$/, "");
  const part = (suffix: string, dtype: string, width: number, each_bytes: number) => {
    return { name: `${stem}.${suffix}`, dtype, shape: [...rows, width], bytes: count * width * each_bytes };
  };
  const groups = columns / how.group_size;
  const scalar_bytes = first.dtype === "F32" ? 4 : 2;
  const scales =
    how.mode === "affine"
      ? [part("scales", first.dtype, groups, scalar_bytes), part("biases", first.dtype, groups, scalar_bytes)]
      : [part("scales", "U8", groups, 1)];
  return { ...group, is_quantized: true, parts: [part("weight", "U32", (columns * how.bits) / 32, 4), ...scales] };
}

function writeShards(
  folder: string,
  groups: readonly PlannedGroup[],
  how: Quantization,
  told: (done_bytes: number, total_bytes: number) => void,
): void {
  const shards = inShards(groups);
  const total_bytes = groups.reduce((sum, { tensors }) => sum + bytesOf(tensors), 0);
  const index: Record<string, string> = {};
  const files = new FileCache();
  let done_bytes = 0;
  for (const [number, shard] of shards.entries()) {
    const numbered = [number + 1, shards.length].map((each) => String(each).padStart(5, "0")).join("-of-");
    const file = shards.length === 1 ? "model.safetensors" : `model-${numbered}.safetensors`;
    const parts = shard.flatMap((group) => group.parts);
    for (const { name } of parts) index[name] = file;
    using writer = new SafetensorsWriter(join(folder, file), parts);
    for (const group of shard) {
      writeGroup(writer, group, how, files);
      done_bytes += bytesOf(group.tensors);
      told(done_bytes, total_bytes);
    }
  }
  files[Symbol.dispose]();
  const total_size = groups.reduce((sum, { parts }) => sum + bytesOf(parts), 0);
  const written = { metadata: { total_size }, weight_map: index };
  if (shards.length > 1) writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(written, null, 2));
}

function inShards(groups: readonly PlannedGroup[]): readonly PlannedGroup[][] {
  const shards: PlannedGroup[][] = [[]];
  let bytes = 0;
  for (const group of groups) {
    const more = bytesOf(group.parts);
    if (bytes > 0 && bytes + more > SHARD_BYTES_MAX) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)?.push(group);
    bytes += more;
  }
  return shards;
}

function writeGroup(writer: SafetensorsWriter, group: PlannedGroup, how: Quantization, files: FileCache): void {
  const { tensors, shape, is_quantized } = group;
  const bytes = new Uint8Array(bytesOf(tensors));
  let end = 0;
  for (const tensor of tensors) {
    files.of(tensor.file).readInto(bytes.subarray(end, end + tensor.bytes), tensor.offset, `tensor "${tensor.name}"`);
    end += tensor.bytes;
  }
  if (!is_quantized) {
    writer.write(bytes);
    return;
  }
  using stack = new DisposableStack();
  const dense = stack.use(fromBytes(bytes, shape, FLOAT_DTYPES.get(tensors[0]?.dtype ?? "") ?? "float32"));
  const parts = quantize(dense, how).map((part) => stack.use(part));
  evaluate(...parts);
  for (const part of parts) writer.write(memoryOf(part, 0, part.bytes));
}

class FileCache implements Disposable {
  readonly #open = new Map<string, FileBytes>();

  of(path: string): FileBytes {
    const file = this.#open.get(path) ?? new FileBytes(path);
    this.#open.set(path, file);
    return file;
  }

  [Symbol.dispose](): void {
    for (const file of this.#open.values()) file.dispose();
  }
}

function bytesOf(tensors: readonly { readonly bytes: number }[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}
