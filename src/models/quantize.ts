/**
 * Writes a model as a folder in MLX's quantised form, as mlx-lm reads it. Matrices one by one; nothing is there before
 * all is. Knows no format it reads.
 */

import { lstatSync, mkdirSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Failure } from "../core/failure.ts";
import { removeLeftovers } from "../core/leftovers.ts";
import { writeTrouble } from "../core/write-trouble.ts";
import { type PlannedTensor, SafetensorsWriter } from "../formats/safetensors-writer.ts";
import { evaluate, fromBytes, memoryOf } from "../mlx/array.ts";
import { type Quantization, quantize } from "../mlx/ops.ts";
import { FLOAT_DTYPES } from "./dense.ts";
import type { DenseSource, DenseTensor } from "./dense-source.ts";
import { checkForm } from "./quantization.ts";

/**
 * `told` how many bytes of the source are done, and of how many. Throws a `Failure`, also when `signal` aborts; then the
 * target is as it was.
 */
export async function quantizeModel(
  source: DenseSource,
  target: string,
  how: Quantization,
  told: (done_bytes: number, total_bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  checkForm(how, source.path);
  const tensors = source.tensors.map((tensor) => planned(tensor, how));
  const whole = resolve(target);
  const partial = `${whole}.partial-${process.pid}`;
  try {
    const found = lstatSync(whole, { throwIfNoEntry: false });
    if (found !== undefined) throw new Failure("invalid_request", `Cannot write ${target}: it is there already`);
    mkdirSync(dirname(whole), { recursive: true });
    removeLeftovers(dirname(whole), new RegExp(`^${RegExp.escape(basename(whole))}\\.partial-(\\d+)$`));
    mkdirSync(partial);
    using _ = { [Symbol.dispose]: () => rmSync(partial, { recursive: true, force: true }) };
    refuseWithoutRoom(partial, target, tensors);
    await writeShards(partial, tensors, how, told, signal);
    source.copyRest(partial);
    const { mode, bits, group_size } = how;
    const quantization = { group_size, bits, mode };
    const written = { ...source.config, quantization, quantization_config: quantization };
    writeFileSync(join(partial, "config.json"), `${JSON.stringify(written, null, 2)}\n`);
    renameSync(partial, whole);
  } catch (error) {
    const trouble = writeTrouble(error);
    throw trouble === null ? error : new Failure("unavailable", `Cannot write ${target}: ${trouble}`);
  }
}

/** Hours of work would end with a full disk. */
function refuseWithoutRoom(folder: string, target: string, tensors: readonly Planned[]): void {
  const needed = bytesOf(tensors.flatMap(({ parts }) => parts));
  const { bavail, bsize } = statfsSync(folder);
  if (needed <= bavail * bsize) return;
  const [all, free] = [Math.ceil(needed / 1e6), Math.floor((bavail * bsize) / 1e6)];
  throw new Failure("unavailable", `Cannot write ${target}: it needs ${all} MB, ${free} MB of the disk are free`);
}

// As large as what others publish, so that tools which read a shard at once can.
const SHARD_BYTES_MAX = 5e9;

interface Planned extends DenseTensor {
  readonly is_quantized: boolean;
  readonly parts: readonly PlannedTensor[];
}

/** Matrices of projections and embeddings; routers, which are small and decide much, stay as they are. */
function planned(tensor: DenseTensor, how: Quantization): Planned {
  const { name, shape, dtype } = tensor;
  const columns = shape.at(-1) ?? 0;
  const is_matrix = name.endsWith(".weight") && shape.length >= 2 && FLOAT_DTYPES.has(dtype);
  const is_kept = /(?:\.gate|\.router|norm|conv1d?|\.conv)\.weight$/.test(name) || columns % how.group_size !== 0;
  if (!is_matrix || is_kept) {
    return { ...tensor, is_quantized: false, parts: [tensor] };
  }
  const rows = shape.slice(0, -1);
  const count = rows.reduce((product, size) => product * size, 1);
  const stem = name.replace(/\.weight$/, "");
  const part = (suffix: string, dtype: string, width: number, each_bytes: number) => {
    return { name: `${stem}.${suffix}`, dtype, shape: [...rows, width], bytes: count * width * each_bytes };
  };
  const groups = columns / how.group_size;
  const scalar_bytes = dtype === "F32" ? 4 : 2;
  const scales =
    how.mode === "affine"
      ? [part("scales", dtype, groups, scalar_bytes), part("biases", dtype, groups, scalar_bytes)]
      : [part("scales", "U8", groups, 1)];
  return { ...tensor, is_quantized: true, parts: [part("weight", "U32", (columns * how.bits) / 32, 4), ...scales] };
}

async function writeShards(
  folder: string,
  tensors: readonly Planned[],
  how: Quantization,
  told: (done_bytes: number, total_bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const shards = inShards(tensors);
  const total_bytes = bytesOf(tensors);
  const index: Record<string, string> = {};
  let done_bytes = 0;
  for (const [number, shard] of shards.entries()) {
    const numbered = [number + 1, shards.length].map((each) => String(each).padStart(5, "0")).join("-of-");
    const file = shards.length === 1 ? "model.safetensors" : `model-${numbered}.safetensors`;
    const parts = shard.flatMap((tensor) => tensor.parts);
    for (const { name } of parts) index[name] = file;
    using writer = new SafetensorsWriter(join(folder, file), parts);
    for (const tensor of shard) {
      await new Promise(setImmediate); // so that a signal is heard
      if (signal.aborted) throw new Failure("cancelled", "Cannot quantise the model: it was interrupted");
      writeTensor(writer, tensor, how);
      done_bytes += tensor.bytes;
      told(done_bytes, total_bytes);
    }
  }
  const total_size = tensors.reduce((sum, { parts }) => sum + bytesOf(parts), 0);
  const written = { metadata: { total_size }, weight_map: index };
  if (shards.length > 1) writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(written, null, 2));
}

function inShards(tensors: readonly Planned[]): readonly Planned[][] {
  const shards: Planned[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const more = bytesOf(tensor.parts);
    if (bytes > 0 && bytes + more > SHARD_BYTES_MAX) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)?.push(tensor);
    bytes += more;
  }
  return shards;
}

function writeTensor(
  writer: SafetensorsWriter,
  { shape, dtype, is_quantized, read }: Planned,
  how: Quantization,
): void {
  const bytes = read();
  if (!is_quantized) {
    writer.write(bytes);
    return;
  }
  using stack = new DisposableStack();
  const dense = stack.use(fromBytes(bytes, shape, FLOAT_DTYPES.get(dtype) ?? "float32"));
  const parts = quantize(dense, how).map((part) => stack.use(part));
  evaluate(...parts);
  for (const part of parts) writer.write(memoryOf(part, 0, part.bytes));
}

function bytesOf(tensors: readonly { readonly bytes: number }[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}
