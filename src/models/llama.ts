/**
 * The llama family: Llama 1 to 3, SmolLM2, TinyLlama and all that share their layout.
 * Pre-norm blocks, grouped-query attention with rotary positions, SwiGLU; `model_type` "llama".
 */

import { Failure } from "../core/failure.ts";
import { rmsNorm } from "../mlx/fast.ts";
import { type Attention, attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import type { Model } from "./family.ts";
import { type Mlp, mlp } from "./mlp.ts";
import { projection } from "./projection.ts";
import { disposeRope, type Rope, readRope } from "./rope.ts";
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

interface Block {
  readonly attention: Attention;
  readonly mlp: Mlp;
}

export function loadLlama(config: ModelConfig, weights: Weights): Model {
  const args = readArguments(config, weights.file);
  using stack = new DisposableStack();
  stack.use(weights);
  const rope = readRope(config, args.head_dim, weights.file);
  stack.defer(() => disposeRope(rope));
  const { vocabulary_size, hidden_size } = args;
  const table = (name: string) =>
    stack.use(projection(weights.linear(name, vocabulary_size, hidden_size, false), hidden_size));
  const embedding = table("model.embed_tokens");
  const blocks = Array.from({ length: args.layers }, (_, layer) => loadBlock(weights, args, rope, layer, stack));
  const norm = weights.vector("model.norm.weight", args.hidden_size);
  const tied = args.tied ?? !weights.has("lm_head.weight");
  const head = tied ? embedding : table("lm_head");
  const owned = stack.move();

  return {
    cache_shape: { layers: args.layers, kv_heads: args.kv_heads, head_dim: args.head_dim },
    context_length: args.context_length,
    vocabulary_size: args.vocabulary_size,
    bytes_resident: weights.bytes_resident,
    forward(token_ids, step) {
      let hidden = embedding.rows(token_ids);
      for (const { attention, mlp } of blocks) {
        using before = hidden;
        using attended = attention.apply(before, step);
        hidden = mlp.apply(attended);
      }
      return hidden;
    },
    normed: (hidden) => rmsNorm(hidden, norm, args.rms_norm_epsilon),
    logits(hidden) {
      using normed = this.normed(hidden);
      return head.apply(normed);
    },
    [Symbol.dispose]: () => owned.dispose(),
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

function loadBlock(weights: Weights, args: Arguments, rope: Rope, layer: number, owned: DisposableStack): Block {
  const { hidden_size, intermediate_size, head_dim, attention_bias, mlp_bias } = args;
  const prefix = `model.layers.${layer}`;
  const query_rows = args.heads * head_dim;
  const key_rows = args.kv_heads * head_dim;
  return {
    attention: owned.use(
      attention({
        layer,
        norm: weights.vector(`${prefix}.input_layernorm.weight`, hidden_size),
        norm_epsilon: args.rms_norm_epsilon,
        heads: args.heads,
        kv_heads: args.kv_heads,
        head_dim,
        scale: head_dim ** -0.5,
        rope,
        q: weights.linear(`${prefix}.self_attn.q_proj`, query_rows, hidden_size, attention_bias),
        k: weights.linear(`${prefix}.self_attn.k_proj`, key_rows, hidden_size, attention_bias),
        v: weights.linear(`${prefix}.self_attn.v_proj`, key_rows, hidden_size, attention_bias),
        o: weights.linear(`${prefix}.self_attn.o_proj`, hidden_size, query_rows, attention_bias),
      }),
    ),
    mlp: owned.use(
      mlp({
        norm: weights.vector(`${prefix}.post_attention_layernorm.weight`, hidden_size),
        norm_epsilon: args.rms_norm_epsilon,
        gate: weights.linear(`${prefix}.mlp.gate_proj`, intermediate_size, hidden_size, mlp_bias),
        up: weights.linear(`${prefix}.mlp.up_proj`, intermediate_size, hidden_size, mlp_bias),
        down: weights.linear(`${prefix}.mlp.down_proj`, hidden_size, intermediate_size, mlp_bias),
      }),
    ),
  };
}
