/**
 * The llama family: Llama 1 to 3, SmolLM2, TinyLlama and all that share their layout.
 * Pre-norm blocks, grouped-query attention with rotary positions, SwiGLU; `model_type` "llama".
 */

import { Failure } from "../core/failure.ts";
import type { MlxArray } from "../mlx/array.ts";
import { attend, rmsNorm } from "../mlx/fast.ts";
import { add, reshape, slice, transpose } from "../mlx/ops.ts";
import { ConfigReader } from "./config.ts";
import type { Cache, Model, ModelConfig } from "./family.ts";
import { embed, type Linear, linear, swiglu } from "./layers.ts";
import { disposeRope, type Rope, readRope, rotate } from "./rope.ts";
import type { Weights } from "./weights.ts";

interface Arguments {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly layers: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  readonly vocabulary_size: number;
  readonly context_length: number;
  readonly rms_norm_epsilon: number;
  readonly attention_bias: boolean;
  readonly mlp_bias: boolean;
  /** null: tied when the file has no head of its own. */
  readonly tied: boolean | null;
}

interface Attention {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
}

interface Mlp {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

interface Block {
  readonly attention_norm: MlxArray;
  readonly attention: Attention;
  readonly mlp_norm: MlxArray;
  readonly mlp: Mlp;
}

export function loadLlama(config: ModelConfig, weights: Weights): Model {
  const args = readArguments(config, weights.file);
  const rope = readRope(config, args.head_dim, weights.file);
  const embedding = weights.linear("model.embed_tokens", args.vocabulary_size, args.hidden_size, false);
  const blocks = Array.from({ length: args.layers }, (_, layer) => loadBlock(weights, args, `model.layers.${layer}`));
  const norm = weights.vector("model.norm.weight", args.hidden_size);
  const tied = args.tied ?? !weights.has("lm_head.weight");
  const head = tied ? embedding : weights.linear("lm_head", args.vocabulary_size, args.hidden_size, false);

  return {
    cache_shape: { layers: args.layers, kv_heads: args.kv_heads, head_dim: args.head_dim },
    context_length: args.context_length,
    vocabulary_size: args.vocabulary_size,
    bytes_resident: weights.bytes_resident,
    forward(token_ids, cache) {
      let hidden = embed(token_ids, embedding); // (1, length, hidden_size)
      for (const [layer, block] of blocks.entries()) {
        using before = hidden;
        hidden = runBlock(before, block, args, rope, cache, layer);
      }
      using all = hidden;
      using last = lastPosition(all, args.hidden_size);
      using normed = rmsNorm(last, norm, args.rms_norm_epsilon);
      return linear(normed, head);
    },
    [Symbol.dispose]() {
      disposeRope(rope);
      weights[Symbol.dispose]();
    },
  };
}

function readArguments(config: ModelConfig, file: string): Arguments {
  const reader = new ConfigReader(config, file);
  const hidden_size = reader.dimension("hidden_size");
  const heads = reader.dimension("num_attention_heads");
  const kv_heads = reader.dimensionOr("num_key_value_heads", heads);
  if (heads % kv_heads !== 0) {
    throw new Failure(
      "unsupported",
      `Cannot load ${file}: ${heads} attention heads do not divide among ${kv_heads} key heads`,
    );
  }
  const head_dim = reader.dimensionOr("head_dim", Math.floor(hidden_size / heads));
  if (head_dim % 2 !== 0) {
    throw new Failure(
      "unsupported",
      `Cannot load ${file}: head_dim must be even to rotate in pairs, found ${head_dim}`,
    );
  }
  const activation = reader.stringOr("hidden_act", "silu");
  if (activation !== "silu") {
    throw new Failure(
      "unsupported",
      `Cannot load ${file}: hidden_act must be "silu" in the llama family, found "${activation}"`,
    );
  }
  return {
    hidden_size,
    heads,
    kv_heads,
    head_dim,
    intermediate_size: reader.dimension("intermediate_size"),
    layers: reader.dimension("num_hidden_layers"),
    vocabulary_size: reader.dimension("vocab_size"),
    context_length: reader.dimensionOr("max_position_embeddings", 2048),
    rms_norm_epsilon: reader.numberOr("rms_norm_eps", 1e-6),
    attention_bias: reader.booleanOr("attention_bias", false) === true,
    mlp_bias: reader.booleanOr("mlp_bias", false) === true,
    tied: reader.booleanOr("tie_word_embeddings", null),
  };
}

function loadBlock(weights: Weights, args: Arguments, prefix: string): Block {
  const { hidden_size, intermediate_size, head_dim, attention_bias, mlp_bias } = args;
  const attention = `${prefix}.self_attn`;
  const mlp = `${prefix}.mlp`;
  const query_rows = args.heads * head_dim;
  const key_rows = args.kv_heads * head_dim;
  return {
    attention_norm: weights.vector(`${prefix}.input_layernorm.weight`, hidden_size),
    attention: {
      q: weights.linear(`${attention}.q_proj`, query_rows, hidden_size, attention_bias),
      k: weights.linear(`${attention}.k_proj`, key_rows, hidden_size, attention_bias),
      v: weights.linear(`${attention}.v_proj`, key_rows, hidden_size, attention_bias),
      o: weights.linear(`${attention}.o_proj`, hidden_size, query_rows, attention_bias),
    },
    mlp_norm: weights.vector(`${prefix}.post_attention_layernorm.weight`, hidden_size),
    mlp: {
      gate: weights.linear(`${mlp}.gate_proj`, intermediate_size, hidden_size, mlp_bias),
      up: weights.linear(`${mlp}.up_proj`, intermediate_size, hidden_size, mlp_bias),
      down: weights.linear(`${mlp}.down_proj`, hidden_size, intermediate_size, mlp_bias),
    },
  };
}

/** `x` (1, length, hidden_size), unchanged in shape. */
function runBlock(x: MlxArray, block: Block, args: Arguments, rope: Rope, cache: Cache, layer: number): MlxArray {
  using attention_input = rmsNorm(x, block.attention_norm, args.rms_norm_epsilon);
  using attended = runAttention(attention_input, block.attention, args, rope, cache, layer);
  using middle = add(x, attended);
  using mlp_input = rmsNorm(middle, block.mlp_norm, args.rms_norm_epsilon);
  using fed = runMlp(mlp_input, block.mlp);
  return add(middle, fed);
}

function runAttention(
  x: MlxArray,
  attention: Attention,
  args: Arguments,
  rope: Rope,
  cache: Cache,
  layer: number,
): MlxArray {
  const { heads, kv_heads, head_dim } = args;
  const offset = cache.length;
  using q_flat = linear(x, attention.q);
  using k_flat = linear(x, attention.k);
  using v_flat = linear(x, attention.v);
  using q_heads = splitHeads(q_flat, heads, head_dim);
  using k_heads = splitHeads(k_flat, kv_heads, head_dim);
  using new_values = splitHeads(v_flat, kv_heads, head_dim);
  using queries = rotate(q_heads, rope, offset);
  using new_keys = rotate(k_heads, rope, offset);
  const kept = cache.extend(layer, new_keys, new_values);
  using keys = kept.keys;
  using values = kept.values;
  const length = x.shape[1] ?? 1;
  using mixed = attend(queries, keys, values, head_dim ** -0.5, length === 1 ? "none" : "causal");
  using by_position = transpose(mixed, [0, 2, 1, 3]);
  using joined = reshape(by_position, [1, length, heads * head_dim]);
  return linear(joined, attention.o);
}

function runMlp(x: MlxArray, mlp: Mlp): MlxArray {
  using gate = linear(x, mlp.gate);
  using up = linear(x, mlp.up);
  using activated = swiglu(gate, up);
  return linear(activated, mlp.down);
}

/** (1, length, heads · head_dim) to (1, heads, length, head_dim). */
function splitHeads(x: MlxArray, heads: number, head_dim: number): MlxArray {
  using split = reshape(x, [1, -1, heads, head_dim]);
  return transpose(split, [0, 2, 1, 3]);
}

/** (1, length, hidden_size) to (1, hidden_size). */
function lastPosition(x: MlxArray, hidden_size: number): MlxArray {
  const length = x.shape[1] ?? 1;
  using last = slice(x, [0, length - 1, 0], [1, length, hidden_size]);
  return reshape(last, [1, hidden_size]);
}
