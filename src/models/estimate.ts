/** What a model will take, from the headers of its files. Reads no tensor and opens no MLX. */

import { statSync } from "node:fs";
import { join } from "node:path";
import type { ModelEstimate } from "../core/backend.ts";
import { cacheBytes } from "../core/cache-shares.ts";
import type { Purpose } from "../core/purpose.ts";
import type { EngineSettings, KvBits } from "../core/settings.ts";
import { readGgufModel } from "../formats/gguf-parts.ts";
import { asObject, readJson } from "../formats/json.ts";
import { purposeOf } from "../formats/purpose.ts";
import { readSafetensorsFolder } from "../formats/safetensors.ts";
import { BLOCK_TOKENS } from "./block.ts";
import type { ModelConfig } from "./config.ts";
import { architectureOf } from "./gguf-architectures.ts";
import { GROUP } from "./packed-cache.ts";

/** Throws the `Failure` that the load would. */
export function estimateModel(path: string, settings: EngineSettings): ModelEstimate {
  const headers = statSync(path).isDirectory() ? ofFolder(path) : ofGguf(path);
  return estimateOf(headers, purposeOf(path).kind, settings);
}

/** The same of files that are elsewhere, as far as their config and their size tell. */
export function estimateOf(
  { config, tensors, weights_bytes }: Headers,
  purpose: Purpose["kind"],
  settings: EngineSettings,
): ModelEstimate {
  const number = numberOf(config);
  const hidden = number("hidden_size", 0);
  const kv_token_bytes = tokenBytes(config, tensors, purpose === "chat" ? settings.kv_bits : 32);
  const context_length = number("max_position_embeddings", 0);
  const rows = purpose === "chat" ? settings.rows_max : 1; // one text after another
  const units = { block_bytes: kv_token_bytes * BLOCK_TOKENS, state_bytes: stateBytes(config, tensors) };
  const blocks_of_row = Math.ceil(context_length / BLOCK_TOKENS);
  const talk_tokens = Math.min(context_length, TALK_TOKENS);
  const step_floats =
    settings.chunk_tokens_max * (STREAMS * hidden + STREAMS * number("intermediate_size", 0)) +
    settings.rows_max * (1 + settings.draft_tokens_max) * number("vocab_size", 0);
  return {
    purpose,
    weights_bytes,
    kv_bytes_max: Math.min(cacheBytes(units, blocks_of_row * rows, rows), settings.kv_bytes_max),
    kv_bytes_min: cacheBytes(units, talk_tokens / BLOCK_TOKENS, 1),
    step_bytes: step_floats * FLOAT_BYTES,
    context_length,
    kv_block_tokens: BLOCK_TOKENS,
    kv_block_bytes: units.block_bytes,
    kv_state_bytes: units.state_bytes,
    rows_max: rows,
  };
}

interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Keys and values of one token in all layers: by what gives the keys, or where that is packed by the config. */
export function tokenBytes(config: ModelConfig, tensors: readonly NamedShape[], bits: KvBits): number {
  const keys = tensors.filter(({ name }) => /(?:\.self_attn\.k_proj|^blk\.\d+\.attn_k)\.weight$/.test(name));
  const widths = keys.reduce((sum, { shape: [rows = 0] }) => sum + rows, 0);
  const number = numberOf(config);
  const heads = number("num_attention_heads", 1);
  const head_dim = number("head_dim", Math.floor(number("hidden_size", 0) / heads));
  const otherwise = number("num_hidden_layers", 0) * number("num_key_value_heads", heads) * head_dim;
  const number_bits = bits === 32 ? bits : bits + GROUP_BITS / GROUP;
  return (2 * (widths || otherwise) * number_bits) / 8;
}

/** What recurrent layers keep of one sequence: the last inputs of convolutions, and what delta nets hold. */
export function stateBytes(config: ModelConfig, tensors: readonly NamedShape[]): number {
  const number = numberOf(config);
  const held = ["linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"];
  const held_floats = held.reduce((product, name) => product * number(name, 0), 1);
  const floats = tensors.map(({ name, shape: [channels = 0, ...taps] }) => {
    if (/\.linear_attn\.A_log$/.test(name)) return held_floats;
    if (!/\.(?:conv\.conv|linear_attn\.conv1d)\.weight$/.test(name)) return 0;
    return channels * (taps.reduce((product, size) => product * size, 1) - 1);
  });
  return floats.reduce((sum, each) => sum + each, 0) * FLOAT_BYTES;
}

/** The config of a model that also sees has that of its text within. */
export function textConfig(config: ModelConfig): ModelConfig {
  return { ...config, ...asObject(config["text_config"]) };
}

function numberOf(config: ModelConfig): (name: string, otherwise: number) => number {
  return (name, otherwise) => {
    const value = config[name];
    return typeof value === "number" && value > 0 ? value : otherwise;
  };
}

const FLOAT_BYTES = 4;
// Scale and bias of a group in a quantised cache, 16 each.
const GROUP_BITS = 32;
// Arrays of a layer that are there at once: its input, what it is added to, and what is made of them.
const STREAMS = 4;
// With less, a model could not hold one short talk.
const TALK_TOKENS = 1024;

/** What blocks of ggml take as affine groups of 32 for each byte of the file: scales and offsets as halves, of the later types as floats. */
const REPACKED: ReadonlyMap<string, number> = new Map([
  ["Q4_0", 20 / 18],
  ["Q4_1", 20 / 20],
  ["Q8_0", 36 / 34],
  ["Q5_0", 28 / 22],
  ["Q5_1", 28 / 24],
  ["Q4_K", 192 / 144],
  ["Q5_K", 224 / 176],
  ["Q2_K", 320 / 84],
  ["Q3_K", 320 / 110],
  ["Q6_K", 320 / 210],
]);

export interface Headers {
  readonly config: ModelConfig;
  readonly tensors: readonly NamedShape[];
  readonly weights_bytes: number;
}

function ofGguf(path: string): Headers {
  const file = readGgufModel(path);
  const tensors = [...file.tensors.values()];
  const weights_bytes = tensors.reduce((sum, { type, bytes }) => sum + bytes * (REPACKED.get(type) ?? 1), 0);
  return { config: architectureOf(file).config(() => null), tensors, weights_bytes: Math.ceil(weights_bytes) };
}

function ofFolder(path: string): Headers {
  const config = textConfig(asObject(readJson(join(path, "config.json"))) ?? {});
  const tensors = [...readSafetensorsFolder(path).values()];
  return { config, tensors, weights_bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0) };
}
