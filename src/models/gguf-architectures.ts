/** What GGUF files call things, by architecture: their metadata as a config, their tensors by Hugging Face names. */

import { Failure } from "../core/failure.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { ModelConfig } from "./config.ts";

export interface Architecture {
  /** The metadata in the words of config.json; `floats` reads a small tensor, null where there is none. */
  config(floats: Floats): ModelConfig;
  /** The file's name of a tensor of the Hugging Face layout. */
  tensorName(name: string): string;
  /** The heads of a projection whose rows the file stores in rotary pairs, else null. */
  pairedHeads(name: string): number | null;
}

type Floats = (name: string, size: number) => readonly number[] | null;
type Read = (key: string) => unknown;

/** One architecture where it is not like the others. */
interface Manner {
  /** Rows of queries and keys are stored in rotary pairs. */
  readonly paired?: boolean;
  /** Names within a block that are others here. */
  readonly names?: Readonly<Record<string, string>>;
  /** What its config says beyond what all say. */
  config?(read: Read, floats: Floats): ModelConfig;
}

const GEMMA = { hidden_activation: "gelu_pytorch_tanh", torch_dtype: "bfloat16" };
const NORMS_BEHIND = {
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};

const ARCHITECTURES: ReadonlyMap<string, Manner> = new Map<string, Manner>([
  ["gemma", { config: () => ({ model_type: "gemma", ...GEMMA }) }],
  ["gemma2", { names: NORMS_BEHIND, config: gemma2 }],
  ["gemma3", { names: NORMS_BEHIND, config: gemma3 }],
  ["granite", { paired: true, config: granite }],
  ["llama", { paired: true }],
  ["olmo2", { names: NORMS_BEHIND, config: olmo }],
  ["phi3", { config: phi3 }],
  ["qwen2", {}],
  ["qwen3", {}],
  // the converter writes none of what makes SmolLM3 other than llama: it is the same in all of them
  ["smollm3", { paired: true, config: () => ({ no_rope_layer_interval: 4 }) }],
]);

export function architectureOf(file: GgufFile): Architecture {
  const name = String(file.metadata.get("general.architecture") ?? "unnamed");
  const manner = ARCHITECTURES.get(name);
  if (manner !== undefined) return architecture(file, name, manner);
  const known = [...ARCHITECTURES.keys()].join(", ");
  throw new Failure("unsupported", `Cannot load ${file.path}: its architecture is "${name}", known: ${known}`);
}

const OUTER_NAMES: ReadonlyMap<string, string> = new Map([
  ["model.embed_tokens", "token_embd"],
  ["model.norm", "output_norm"],
  ["lm_head", "output"],
]);

const BLOCK_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.qkv_proj": "attn_qkv",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.gate_up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

function architecture(file: GgufFile, name: string, manner: Manner): Architecture {
  const read: Read = (key) => file.metadata.get(`${name}.${key}`);
  const heads = read("attention.head_count");
  const kv_heads = read("attention.head_count_kv") ?? heads;
  return {
    config: (floats) => ({ ...commonConfig(file, name, read, floats), ...manner.config?.(read, floats) }),
    tensorName: (tensor) => tensorName(tensor, { ...BLOCK_NAMES, ...manner.names }),
    pairedHeads(tensor) {
      if (manner.paired !== true) return null;
      if (tensor.endsWith(".self_attn.q_proj")) return Number(heads);
      return tensor.endsWith(".self_attn.k_proj") ? Number(kv_heads) : null;
    },
  };
}

function commonConfig(file: GgufFile, name: string, read: Read, floats: Floats): ModelConfig {
  const head_dim = read("attention.key_length") ?? read("rope.dimension_count");
  const tokens = file.metadata.get("tokenizer.ggml.tokens");
  return {
    model_type: name,
    hidden_size: read("embedding_length"),
    intermediate_size: read("feed_forward_length"),
    num_hidden_layers: read("block_count"),
    num_attention_heads: read("attention.head_count"),
    num_key_value_heads: read("attention.head_count_kv"),
    head_dim,
    vocab_size: read("vocab_size") ?? (Array.isArray(tokens) ? tokens.length : undefined),
    max_position_embeddings: read("context_length"),
    rms_norm_eps: read("attention.layer_norm_rms_epsilon"),
    rope_theta: read("rope.freq_base"),
    rope_scaling: ropeScaling(read, typeof head_dim === "number" ? floats("rope_freqs.weight", head_dim / 2) : null),
    attention_bias: file.tensors.has("blk.0.attn_q.bias"),
    tie_word_embeddings: !file.tensors.has("output.weight"),
  };
}

/** The file lacks the scale of the queries: by the size of a head, but in the largest model by hidden size over heads. */
function gemmaScale(read: Read, layers_of_largest: number): unknown {
  if (read("block_count") !== layers_of_largest) return read("attention.key_length");
  return Number(read("embedding_length")) / Number(read("attention.head_count"));
}

function gemma2(read: Read): ModelConfig {
  return {
    ...GEMMA,
    query_pre_attn_scalar: gemmaScale(read, 46),
    attn_logit_softcapping: read("attn_logit_softcapping"),
    final_logit_softcapping: read("final_logit_softcapping"),
    sliding_window: read("attention.sliding_window"),
  };
}

/** Nor does it have the pattern of the windows and the base of their positions: those of all released models. */
function gemma3(read: Read): ModelConfig {
  return {
    ...GEMMA,
    model_type: "gemma3_text",
    query_pre_attn_scalar: gemmaScale(read, 62),
    final_logit_softcapping: read("final_logit_softcapping"),
    sliding_window: read("attention.sliding_window"),
    sliding_window_pattern: 6,
    rope_local_base_freq: read("rope.freq_base_swa") ?? 10_000,
  };
}

function granite(read: Read): ModelConfig {
  return {
    attention_multiplier: read("attention.scale"),
    embedding_multiplier: read("embedding_scale"),
    residual_multiplier: read("residual_scale"),
    logits_scaling: read("logit_scale"),
  };
}

/** OLMo 3 is stored as OLMo 2 with a window. */
function olmo(read: Read): ModelConfig {
  const sliding_window = read("attention.sliding_window");
  return sliding_window === undefined ? {} : { model_type: "olmo3", sliding_window };
}

function phi3(read: Read, floats: Floats): ModelConfig {
  const dims = Number(read("rope.dimension_count"));
  const head_dim =
    read("attention.key_length") ?? Number(read("embedding_length")) / Number(read("attention.head_count"));
  const short_factor = floats("rope_factors_short.weight", dims / 2);
  return {
    head_dim,
    partial_rotary_factor: dims / Number(head_dim),
    sliding_window: read("attention.sliding_window") || null, // 0 where there is none
    rope_scaling:
      short_factor === null
        ? ropeScaling(read, null)
        : {
            ...{ rope_type: "longrope", short_factor, attention_factor: read("rope.scaling.attn_factor") },
            original_max_position_embeddings: read("rope.scaling.original_context_length"),
          },
  };
}

function tensorName(name: string, block_names: Readonly<Record<string, string>>): string {
  const split = /^(model\.layers\.(\d+)\.)?(.*)\.(weight|bias)$/.exec(name);
  const [, , layer, middle = "", kind] = split ?? [];
  if (layer === undefined) return `${OUTER_NAMES.get(middle) ?? middle}.${kind}`;
  return `blk.${layer}.${block_names[middle] ?? middle}.${kind}`;
}

function ropeScaling(read: Read, factors: readonly number[] | null): ModelConfig | null {
  if (factors !== null) return { rope_type: "factors", factors };
  const kind = read("rope.scaling.type") ?? (read("rope.scale_linear") === undefined ? "none" : "linear");
  if (kind === "none") return null;
  return {
    rope_type: kind,
    factor: read("rope.scaling.factor") ?? read("rope.scale_linear"),
    original_max_position_embeddings: read("rope.scaling.original_context_length"),
  };
}
