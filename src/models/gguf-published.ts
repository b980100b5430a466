/**
 * A GGUF file as the folder it was made of: the config that mlx-lm reads, and each tensor under its published name.
 * Writes nothing.
 */

import { Failure } from "../core/failure.ts";
import { readGgufModel } from "../formats/gguf-parts.ts";
import { asObject } from "../formats/json.ts";
import { fromBytes, type MlxArray, toFloat32 } from "../mlx/array.ts";
import { concatenate, take } from "../mlx/ops.ts";
import type { ModelConfig } from "./config.ts";
import { type Architecture, architectureOf } from "./gguf-architectures.ts";
import { denseTensor } from "./gguf-weights.ts";

interface PublishedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** In float32. */
  dense(): MlxArray;
}

export function publishedGguf(path: string): { config: ModelConfig; tensors: readonly PublishedTensor[] } {
  const file = readGgufModel(path);
  const architecture = architectureOf(file);
  const layers = Number(architecture.config(() => null)["num_hidden_layers"]);
  const tensors = [...file.tensors.values()].flatMap((tensor): PublishedTensor[] => {
    const name = architecture.publishedName(tensor.name);
    if (name === null) {
      refuseLeftOut(tensor.name, layers, path);
      return []; // factors of positions, which are in the config, and what is no part of the decoder
    }
    return [{ name, shape: publishedShape(name, tensor.shape), dense: () => denseTensor(file, architecture, tensor) }];
  });
  const floats = (name: string) => {
    const tensor = file.tensors.get(name);
    if (tensor === undefined) return null;
    using dense = denseTensor(file, architecture, tensor);
    return [...toFloat32(dense)];
  };
  const config = publishedConfig(architecture, floats, path);
  return { config, tensors: config["model_type"] === "qwen3_next" ? withQkvz(tensors, config) : tensors };
}

/** A tensor of one of the layers would be missed. */
function refuseLeftOut(name: string, layers: number, path: string): void {
  const [, layer] = /^blk\.(\d+)\./.exec(name) ?? [];
  if (layer === undefined || Number(layer) >= layers) return;
  const state = `nothing is known of its tensor "${name}", which would be left out`;
  throw new Failure("unsupported", `Cannot quantise ${path}: ${state}`);
}

/** The gate of Qwen's shared expert is a matrix of one row, convolutions have an axis of one: files leave them out. */
function publishedShape(name: string, shape: readonly number[]): readonly number[] {
  if (name.endsWith("_gate.weight") && shape.length === 1) return [1, ...shape];
  return /\.conv(?:1d)?\.weight$/.test(name) ? [...shape, 1] : shape;
}

/** Newer files of Qwen3-Next hold apart what is one matrix as it was published. */
function withQkvz(tensors: readonly PublishedTensor[], config: ModelConfig): readonly PublishedTensor[] {
  const gates = new Map(tensors.map((tensor) => [tensor.name.replace("in_proj_z", "in_proj_qkv"), tensor]));
  return tensors.flatMap((tensor): PublishedTensor[] => {
    if (tensor.name.endsWith(".in_proj_z.weight")) return [];
    const gate = gates.get(tensor.name);
    if (gate === undefined || !tensor.name.endsWith(".in_proj_qkv.weight")) return [tensor];
    const [rows = 0, columns = 0] = tensor.shape;
    const [more = 0] = gate.shape;
    const dense = () => {
      using first = tensor.dense();
      using second = gate.dense();
      using joined = concatenate([first, second], 0);
      using order = fromBytes(rowsByKeyHead(config, rows + more), [rows + more], "int32");
      return take(joined, order, 0);
    };
    return [{ name: tensor.name.replace("in_proj_qkv", "in_proj_qkvz"), shape: [rows + more, columns], dense }];
  });
}

/** For each row as published, where each key head has its queries, keys, values and gates together, its row where all of one kind are. */
function rowsByKeyHead(config: ModelConfig, count: number): Int32Array<ArrayBuffer> {
  const number = (name: string) => Number(config[name]);
  const heads = number("linear_num_key_heads");
  const values = (number("linear_num_value_heads") / heads) * number("linear_value_head_dim");
  const sizes = [number("linear_key_head_dim"), number("linear_key_head_dim"), values, values];
  const order = new Int32Array(count);
  let row = 0;
  for (let head = 0; head < heads; head++) {
    let first = 0;
    for (const size of sizes) {
      for (let own = 0; own < size; own++) order[row++] = first + head * size + own;
      first += heads * size;
    }
  }
  return order;
}

type Floats = (name: string) => readonly number[] | null;

function publishedConfig(architecture: Architecture, floats: Floats, path: string): ModelConfig {
  const config = architecture.config(floats);
  const heads = Number(config["num_attention_heads"]);
  const head_dim = config["head_dim"] ?? Number(config["hidden_size"]) / heads;
  const rope_theta = config["rope_theta"] ?? 10_000;
  return {
    ...config,
    ...{ head_dim, rope_theta, num_key_value_heads: config["num_key_value_heads"] ?? heads },
    rope_scaling: publishedScaling(config, Number(head_dim), Number(rope_theta), floats, path),
    ...{ mlp_bias: false, decoder_sparse_step: 1, mlp_only_layers: [], torch_dtype: "bfloat16" },
  };
}

/** A file holds what became of a scaling, not how it was made. */
function publishedScaling(config: ModelConfig, dims: number, base: number, floats: Floats, path: string): unknown {
  const factors = floats("rope_freqs.weight");
  if (factors !== null) return llama3Scaling(factors, dims, base, path);
  const scaling = asObject(config["rope_scaling"]);
  const long_factor = floats("rope_factors_long.weight");
  if (long_factor === null) return scaling;
  return { ...scaling, type: "longrope", long_factor };
}

/**
 * As every released model has it: long wavelengths are stretched by one factor, those below a quarter of the context
 * not at all.
 */
const LLAMA3 = {
  rope_type: "llama3",
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
} as const;

function llama3Scaling(factors: readonly number[], dims: number, base: number, path: string): ModelConfig {
  const factor = Math.max(...factors);
  const { low_freq_factor, high_freq_factor, original_max_position_embeddings: length } = LLAMA3;
  const is_same = factors.every((found, pair) => {
    const turns = length / (2 * Math.PI * base ** ((2 * pair) / dims));
    const share = Math.min(1, Math.max(0, (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)));
    return Math.abs(found * (share + (1 - share) / factor) - 1) < 1e-3;
  });
  if (is_same) return { ...LLAMA3, factor };
  const state = "its factors of positions are not those of a scaling that config.json has a name for";
  throw new Failure("unsupported", `Cannot quantise ${path}: ${state}`);
}
