/** What a model will take, from the headers of its files. Reads no tensor and opens no MLX. */

import { statSync } from "node:fs";
import type { ModelEstimate } from "../core/backend.ts";
import { cacheBytes, STATES_OF_ROW, windowBytes } from "../core/cache-shares.ts";
import type { Purpose } from "../core/purpose.ts";
import { type EngineSettings, type KvBits, PREDICTED_TOKENS_MAX } from "../core/settings.ts";
import { readGgufModel } from "../formats/gguf-parts.ts";
import { asObject } from "../formats/json.ts";
import { purposeOf } from "../formats/purpose.ts";
import { readSafetensorsFolder } from "../formats/safetensors.ts";
import { BLOCK_TOKENS, blocksFor, rowSlots } from "./block.ts";
import { type ModelConfig, readConfig } from "./config.ts";
import { stateBytes } from "./family.ts";
import { architectureOf } from "./gguf-architectures.ts";
import { keptOf } from "./kept.ts";
import { GROUP } from "./packed-cache.ts";
import { PHI3_ORIGINAL } from "./phi3.ts";

/** Throws the `Failure` that the load would. */
export function estimateModel(path: string, settings: EngineSettings): ModelEstimate {
  return estimateOf(readHeaders(path), purposeOf(path).kind, settings);
}

/** The same of files that are elsewhere, as far as their config and their size tell. */
export function estimateOf(headers: Headers, purpose: Purpose["kind"], settings: EngineSettings): ModelEstimate {
  const { config, weights_bytes } = headers;
  const number = numberOf(config);
  const context_length = contextLength(config, headers.tensors);
  const rows = purpose === "chat" ? settings.rows_max : 1; // one text after another
  const step_floats =
    settings.chunk_tokens_max * STREAMS * (number("hidden_size", 0) + number("intermediate_size", 0)) +
    (settings.rows_max * (1 + settings.draft_tokens_max) + PREDICTED_TOKENS_MAX) * number("vocab_size", 0);
  const cache = textCache(headers, purpose === "chat" ? settings.kv_bits : 32);
  const { window, state_bytes } = cache;
  const units = {
    ...{ block_bytes: cache.token_bytes * BLOCK_TOKENS, slot_bytes: cache.window_token_bytes * BLOCK_TOKENS },
    ...{ row_blocks: blocksFor(context_length), row_slots: rowSlots(window, settings.chunk_tokens_max) },
  };
  const kvBytes = (tokens: number, count: number) =>
    window === 0
      ? cacheBytes({ ...units, state_bytes }, count * blocksFor(tokens), count)
      : windowBytes(units, blocksFor(tokens), count);
  return {
    purpose,
    weights_bytes,
    kv_bytes_max: Math.min(kvBytes(context_length, rows), settings.kv_bytes_max),
    kv_bytes_min: kvBytes(Math.min(context_length, TALK_TOKENS), 1),
    step_bytes: step_floats * FLOAT_BYTES,
    context_length,
    kv_block_tokens: BLOCK_TOKENS,
    kv_block_bytes: units.block_bytes,
    kv_state_bytes: state_bytes,
    kv_windows: window === 0 ? null : units,
    rows_max: rows,
  };
}

/** What a text takes in the cache. */
export interface TextCache {
  /** Keys and values of a token, in layers that see all of a text. */
  readonly token_bytes: number;
  /** And in those that see a window of it, which keep no more than that. */
  readonly window_token_bytes: number;
  /** Tokens; 0: there are none, or they are as long as the context. */
  readonly window: number;
  /** What recurrent layers keep, however long it is. */
  readonly state_bytes: number;
}

export function textCache({ path, config, tensors }: Omit<Headers, "weights_bytes">, bits: KvBits): TextCache {
  const number = numberOf(config);
  const { windows = [], state_shapes = [] } = keptOf(config, path) ?? {};
  const window = windows.reduce<number>((widest, each) => Math.max(widest, each ?? 0), 0);
  const layers = windows.length || number("num_hidden_layers", 0);
  const bytes = tokenBytes(config, tensors, layers, bits);
  const state_bytes = stateBytes(state_shapes);
  if (window === 0 || window >= number("max_position_embeddings", 0)) {
    return { token_bytes: bytes, window_token_bytes: 0, window: 0, state_bytes };
  }
  const window_token_bytes = (bytes / layers) * windows.filter((each) => each !== null).length;
  return { token_bytes: bytes - window_token_bytes, window_token_bytes, window, state_bytes };
}

/** Of a text of so many tokens. */
export function textBytes({ token_bytes, window_token_bytes, window, state_bytes }: TextCache, tokens: number): number {
  const seen = Math.min(tokens, window);
  return token_bytes * tokens + window_token_bytes * seen + STATES_OF_ROW * state_bytes;
}

interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Keys and values of one token in all layers that have them: by what gives the keys, or where that is packed by the config. */
function tokenBytes(config: ModelConfig, tensors: readonly NamedShape[], layers: number, bits: KvBits): number {
  const keys = tensors.filter(({ name }) => /(?:\.self_attn\.k_proj|^blk\.\d+\.attn_k)\.weight$/.test(name));
  const widths = keys.reduce((sum, { shape: [rows = 0] }) => sum + rows, 0);
  const number = numberOf(config);
  const heads = number("num_attention_heads", 1);
  const head_dim = number("head_dim", Math.floor(number("hidden_size", 0) / heads));
  const otherwise = layers * number("num_key_value_heads", heads) * head_dim;
  const number_bits = bits === 32 ? bits : bits + GROUP_BITS / GROUP;
  return (2 * (widths || otherwise) * number_bits) / 8;
}

/** Tokens of a text, as families count them: up to where longrope would turn otherwise, and without places that hold none. */
export function contextLength(config: ModelConfig, tensors: readonly NamedShape[]): number {
  const number = numberOf(config);
  const known = number("max_position_embeddings", 0);
  if (SHIFTED.has(config["model_type"])) return known - 1 - Number(config["pad_token_id"] ?? 1);
  const scaling = asObject(config["rope_parameters"]) ?? asObject(config["rope_scaling"]) ?? {};
  const is_longrope = LONGROPE.has(scaling["rope_type"] ?? scaling["type"]);
  if (!(is_longrope || tensors.some(({ name }) => name === "rope_factors_short.weight"))) return known;
  const otherwise = config["model_type"] === "phi3" ? PHI3_ORIGINAL : known;
  const original = number("original_max_position_embeddings", otherwise);
  return Math.min(known, numberOf(scaling)("original_max_position_embeddings", original));
}

const LONGROPE: ReadonlySet<unknown> = new Set(["longrope", "su"]);
const SHIFTED: ReadonlySet<unknown> = new Set(["roberta", "xlm-roberta"]);

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
  ["IQ4_NL", 40 / 18],
  ["IQ4_XS", 320 / 136],
  ["Q5_K", 224 / 176],
  ["Q2_K", 320 / 84],
  ["Q3_K", 320 / 110],
  ["Q6_K", 320 / 210],
]);

export interface Headers {
  /** Where it is, for messages. */
  readonly path: string;
  readonly config: ModelConfig;
  readonly tensors: readonly NamedShape[];
  readonly weights_bytes: number;
}

/** `path`: a model folder or a GGUF file. */
export function readHeaders(path: string): Headers {
  return statSync(path).isDirectory() ? ofFolder(path) : ofGguf(path);
}

function ofGguf(path: string): Headers {
  const file = readGgufModel(path);
  const tensors = [...file.tensors.values()];
  const weights_bytes = tensors.reduce((sum, { type, bytes }) => sum + bytes * (REPACKED.get(type) ?? 1), 0);
  return { path, config: architectureOf(file).config(() => null), tensors, weights_bytes: Math.ceil(weights_bytes) };
}

function ofFolder(path: string): Headers {
  const config = textConfig(readConfig(path));
  const tensors = [...readSafetensorsFolder(path).values()];
  return { path, config, tensors, weights_bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0) };
}
