/**
 * Reads low-rank adapters, as mlx-lm's training and PEFT leave them in folders. What an adapter asks that is not
 * computed here is refused by name.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";
import { FileBytes } from "../formats/file-bytes.ts";
import { asObject, readJson } from "../formats/json.ts";
import { readSafetensors, type SafetensorsTensor } from "../formats/safetensors.ts";
import { evaluate, fromBytes, type MlxArray } from "../mlx/array.ts";
import { slice, transpose } from "../mlx/ops.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { FLOAT_DTYPES, toActivationDtype } from "./dense.ts";
import { type Target, times } from "./layers.ts";

/** What is added to a projection: x · down · up. */
export interface LowRank {
  /** (columns, rank) */
  readonly down: MlxArray;
  /** (rank, rows), the adapter's scale in it */
  readonly up: MlxArray;
}

export interface Adapter extends Disposable {
  readonly bytes_resident: number;
  readonly terms: ReadonlyMap<Target, LowRank>;
}

/** What it takes at most: each number as a float32, whatever it is in the file. */
export function adapterBytes(folder: string): number {
  const tensors = readSafetensors(join(folder, formOf(folder).file)).values();
  return [...tensors].reduce((sum, { shape }) => sum + FLOAT_BYTES * shape.reduce((size, dim) => size * dim, 1), 0);
}

const FLOAT_BYTES = 4;

/** Throws a `Failure` that names the folder and what of it does not fit the model's `targets`. */
export function loadAdapter(folder: string, targets: readonly Target[]): Adapter {
  const form = formOf(folder);
  using stack = new DisposableStack();
  const keep = (array: MlxArray) => stack.use(array);
  using file = new FileBytes(join(folder, form.file));
  const terms = new Map<Target, LowRank>();
  for (const [name, pair] of pairsOf(folder, form)) {
    const own = targets.filter((target) => withinLayers(target.name) === withinLayers(name));
    if (own.length === 0) throw refusal(folder, `the model has no projection "${name}" that can be adapted`);
    const scale = form.scaleOf(rankOf(folder, form, name, pair, own));
    const term = {
      down: keep(read(file, pair.down, form.turned, 1)),
      up: keep(read(file, pair.up, form.turned, scale)),
    };
    for (const target of own) terms.set(target, { down: term.down, up: keep(rowsOf(term.up, target)) });
  }
  if (terms.size === 0) throw refusal(folder, `${form.file} adapts nothing`);
  const arrays = [...new Set([...terms.values()].flatMap(({ down, up }) => [down, up]))];
  evaluate(...arrays);
  const owned = stack.move();
  return {
    bytes_resident: arrays.reduce((sum, { bytes }) => sum + bytes, 0),
    terms,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** How a folder holds its matrices. */
interface Form {
  readonly file: string;
  /** A tensor's name to that of its projection, down first. */
  readonly down: RegExp;
  readonly up: RegExp;
  /** Whether they lie as (rank, columns) and (rows, rank). */
  readonly turned: boolean;
  scaleOf(rank: number): number;
}

interface Pair {
  readonly down: SafetensorsTensor;
  readonly up: SafetensorsTensor;
}

function formOf(folder: string): Form {
  const path = join(folder, "adapter_config.json");
  const config = asObject(readJson(path));
  if (config === null) throw refusal(folder, "adapter_config.json is not a JSON object");
  const reader = new ConfigReader(config, path);
  return config["peft_type"] === undefined ? mlxForm(reader) : peftForm(folder, config, reader);
}

function mlxForm(reader: ConfigReader): Form {
  reader.only("fine_tune_type", "lora");
  const scale = reader.object("lora_parameters")?.numberOr("scale", Number.NaN) ?? Number.NaN;
  if (!Number.isFinite(scale)) {
    throw new Failure("unsupported", `Cannot load ${reader.file}: lora_parameters must have a scale`);
  }
  return {
    file: "adapters.safetensors",
    down: /^(.*)\.lora_a$/,
    up: /^(.*)\.lora_b$/,
    turned: false,
    scaleOf: () => scale,
  };
}

function peftForm(folder: string, config: ModelConfig, reader: ConfigReader): Form {
  reader.only("peft_type", "LORA");
  reader.only("bias", "none");
  for (const field of ["use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"]) reader.only(field, false);
  // others, as PiSSA, take a part out of the model's own weights
  reader.only("init_lora_weights", true, false, "gaussian", "eva", "orthogonal");
  for (const field of ["modules_to_save", "alpha_pattern", "alora_invocation_tokens", "target_parameters"]) {
    if (!isEmpty(config[field])) throw refusal(folder, `${field} in adapter_config.json is not supported`);
  }
  const alpha = reader.positive("lora_alpha");
  const by_root = reader.flag("use_rslora");
  if (!existsSync(join(folder, PEFT_FILE)) && existsSync(join(folder, "adapter_model.bin"))) {
    throw refusal(folder, `adapter_model.bin is not read, save it as ${PEFT_FILE}`);
  }
  return {
    file: PEFT_FILE,
    down: /^(.*)\.lora_A(?:\.default)?\.weight$/,
    up: /^(.*)\.lora_B(?:\.default)?\.weight$/,
    turned: true,
    scaleOf: (rank) => alpha / (by_root ? Math.sqrt(rank) : rank),
  };
}

const PEFT_FILE = "adapter_model.safetensors";

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || Object.keys(Object(value)).length === 0;
}

function pairsOf(folder: string, form: Form): ReadonlyMap<string, Pair> {
  const found = new Map<string, Partial<Pair>>();
  for (const tensor of readSafetensors(join(folder, form.file)).values()) {
    const down = form.down.exec(tensor.name)?.[1];
    const name = down ?? form.up.exec(tensor.name)?.[1];
    if (name === undefined) throw refusal(folder, `tensor "${tensor.name}" of ${form.file} is not supported`);
    found.set(name, { ...found.get(name), [down === undefined ? "up" : "down"]: tensor });
  }
  const pairs = [...found].map(([name, { down, up }]): [string, Pair] => {
    if (down !== undefined && up !== undefined) return [name, { down, up }];
    throw refusal(folder, `"${name}" has one of its two matrices only`);
  });
  return new Map(pairs);
}

/** The shared side of both matrices, when they fit the projection. */
function rankOf(folder: string, form: Form, name: string, { down, up }: Pair, own: readonly Target[]): number {
  const inOrder = ({ shape }: SafetensorsTensor) => (form.turned ? shape.toReversed() : shape);
  const [columns, rank = 0, ...more] = inOrder(down);
  const last = own.reduce((one, other) => (other.first_row > one.first_row ? other : one));
  const expected = [last.columns, rank, rank, last.first_row + last.rows];
  const found = [columns, rank, ...more, ...inOrder(up)];
  if (rank > 0 && found.join() === expected.join()) return rank;
  const shapes = `[${down.shape}] and [${up.shape}]`;
  const fitting = `${last.columns} columns and ${last.first_row + last.rows} rows`;
  throw refusal(folder, `"${name}" must fit a projection of ${fitting}, found shapes ${shapes}`);
}

function read(file: FileBytes, tensor: SafetensorsTensor, turned: boolean, scale: number): MlxArray {
  const dtype = FLOAT_DTYPES.get(tensor.dtype);
  if (dtype === undefined) {
    const state = `tensor "${tensor.name}" must have dtype F32, F16 or BF16, found ${tensor.dtype}`;
    throw new Failure("unsupported", `Cannot load ${tensor.file}: ${state}`);
  }
  using stored = fromBytes(file.read(tensor.offset, tensor.bytes, `tensor "${tensor.name}"`), tensor.shape, dtype);
  using active = toActivationDtype(stored);
  using scaled = times(active, scale);
  return transpose(scaled, turned ? [1, 0] : [0, 1]);
}

/** The columns of `up` that make the target's rows. */
function rowsOf(up: MlxArray, { first_row, rows }: Target): MlxArray {
  const [rank = 0] = up.shape;
  return slice(up, [0, first_row], [rank, first_row + rows]);
}

/** What stands before the layers differs from tool to tool: "base_model.model.model.layers.0." and the like. */
function withinLayers(name: string): string {
  const at = name.lastIndexOf("layers.");
  return at < 0 ? name : name.slice(at);
}

function refusal(folder: string, state: string): Failure {
  return new Failure("unsupported", `Cannot load the adapter in ${folder}: ${state}`);
}
