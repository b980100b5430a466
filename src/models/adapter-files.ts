/**
 * How mlx-lm's training and PEFT leave low-rank adapters in folders: names and scales. What a folder asks that is not
 * computed here is refused by name. Reads no numbers and knows no model.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";
import { asObject, readJson } from "../formats/json.ts";
import { readSafetensors, type SafetensorsTensor } from "../formats/safetensors.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";

/** What an adapter has for one projection. */
export interface Pieces {
  readonly name: string;
  readonly down: SafetensorsTensor;
  readonly up: SafetensorsTensor;
  /** How long the rows of the adapted matrix are to be; null: as long as they become. */
  readonly lengths: SafetensorsTensor | null;
}

export interface AdapterFolder {
  /** For messages. */
  readonly folder: string;
  /** The file of all tensors. */
  readonly path: string;
  readonly pieces: readonly Pieces[];
  /** Whether matrices lie as (rank, columns) and (rows, rank). */
  readonly turned: boolean;
  /** By which the product of both matrices of a projection is multiplied. */
  scaleOf(name: string, rank: number): number;
}

export function openAdapter(folder: string): AdapterFolder {
  const path = join(folder, "adapter_config.json");
  const config = asObject(readJson(path));
  if (config === null) throw adapterRefusal(folder, "adapter_config.json is not a JSON object");
  const reader = new ConfigReader(config, path);
  const form = config["peft_type"] === undefined ? mlxForm(reader) : peftForm(folder, config, reader);
  const { file, turned, scaleOf } = form;
  return { folder, path: join(folder, file), pieces: piecesOf(folder, form), turned, scaleOf };
}

export function adapterRefusal(folder: string, state: string): Failure {
  return new Failure("unsupported", `Cannot load the adapter in ${folder}: ${state}`);
}

interface Form extends Pick<AdapterFolder, "turned" | "scaleOf"> {
  readonly file: string;
  /** A tensor's name to that of its projection. */
  readonly names: Readonly<Record<Role, RegExp>>;
}

type Role = "down" | "up" | "lengths";

function mlxForm(reader: ConfigReader): Form {
  const has_lengths = reader.stringOr("fine_tune_type", "lora") === "dora";
  reader.only("fine_tune_type", "lora", "dora");
  const scale = reader.object("lora_parameters")?.numberOr("scale", Number.NaN) ?? Number.NaN;
  if (!Number.isFinite(scale)) {
    throw new Failure("unsupported", `Cannot load ${reader.file}: lora_parameters must have a scale`);
  }
  return {
    file: "adapters.safetensors",
    names: { down: /^(.*)\.lora_a$/, up: /^(.*)\.lora_b$/, lengths: has_lengths ? /^(.*)\.m$/ : NOTHING },
    turned: false,
    scaleOf: () => scale,
  };
}

const NOTHING = /$./;

function peftForm(folder: string, config: ModelConfig, reader: ConfigReader): Form {
  reader.only("peft_type", "LORA");
  reader.only("bias", "none");
  for (const field of ["fan_in_fan_out", "lora_bias", "use_qalora"]) reader.only(field, false);
  // others, as PiSSA, take a part out of the model's own weights
  reader.only("init_lora_weights", true, false, "gaussian", "eva", "orthogonal");
  for (const field of ["modules_to_save", "alora_invocation_tokens", "target_parameters", "trainable_token_indices"]) {
    if (!isEmpty(config[field])) throw adapterRefusal(folder, `${field} in adapter_config.json is not supported`);
  }
  const alphaOf = alphas(folder, reader);
  const by_root = reader.flag("use_rslora");
  if (!existsSync(join(folder, PEFT_FILE)) && existsSync(join(folder, "adapter_model.bin"))) {
    throw adapterRefusal(folder, `adapter_model.bin is not read, save it as ${PEFT_FILE}`);
  }
  return {
    file: PEFT_FILE,
    names: {
      down: /^(.*)\.lora_A(?:\.default)?\.weight$/,
      up: /^(.*)\.lora_B(?:\.default)?\.weight$/,
      lengths: reader.flag("use_dora") ? /^(.*)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?$/ : NOTHING,
    },
    turned: true,
    scaleOf: (name, rank) => alphaOf(name) / (by_root ? Math.sqrt(rank) : rank),
  };
}

const PEFT_FILE = "adapter_model.safetensors";

/** The first pattern counts that a projection's name ends with, as a regular expression; ranks are seen from shapes. */
function alphas(folder: string, reader: ConfigReader): (name: string) => number {
  const otherwise = reader.positive("lora_alpha");
  const given = reader.object("alpha_pattern");
  const patterns = (given?.names ?? []).map((name) => {
    return { pattern: patternOf(folder, name), alpha: given?.positive(name) ?? otherwise };
  });
  return (name) => patterns.find(({ pattern }) => pattern.test(name))?.alpha ?? otherwise;
}

function patternOf(folder: string, name: string): RegExp {
  try {
    return new RegExp(`^(?:.*\\.)?(?:${name})$`);
  } catch {
    throw adapterRefusal(folder, `"${name}" of alpha_pattern in adapter_config.json is not a regular expression`);
  }
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || Object.keys(Object(value)).length === 0;
}

function piecesOf(folder: string, { file, names }: Form): Pieces[] {
  const found = new Map<string, Partial<Record<Role, SafetensorsTensor>>>();
  for (const tensor of readSafetensors(join(folder, file)).values()) {
    const [role, name] = roleOf(tensor.name, names) ?? [];
    if (role === undefined || name === undefined) {
      throw adapterRefusal(folder, `tensor "${tensor.name}" of ${file} is not supported`);
    }
    found.set(name, { ...found.get(name), [role]: tensor });
  }
  if (found.size === 0) throw adapterRefusal(folder, `${file} adapts nothing`);
  return [...found].map(([name, { down, up, lengths = null }]) => {
    if (down !== undefined && up !== undefined) return { name, down, up, lengths };
    throw adapterRefusal(folder, `"${name}" has one of its two matrices only`);
  });
}

function roleOf(tensor: string, names: Form["names"]): [Role, string] | null {
  for (const role of ["down", "up", "lengths"] as const) {
    const name = names[role].exec(tensor)?.[1];
    if (name !== undefined) return [role, name];
  }
  return null;
}
