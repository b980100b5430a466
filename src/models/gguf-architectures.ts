/** What GGUF files call things, by architecture: their metadata as a config, their tensors by Hugging Face names. */

import { Failure } from "../core/failure.ts";
import { shown } from "../formats/file-bytes.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { ModelConfig } from "./config.ts";
import {
  BLOCK_NAMES,
  DECAYS,
  GATE_UP,
  GPT_OSS,
  LFM2,
  LFM2_DENSE,
  LFM2_EXPERTS,
  MIXTRAL,
  NORMS_AROUND,
  NORMS_BEHIND,
  publishedName,
  QWEN_EXPERTS,
  QWEN_SHARED,
  QWEN3_NEXT,
  tensorName,
} from "./gguf-names.ts";

export interface Architecture {
  /** The metadata in the words of config.json; `floats` reads a small tensor, null where there is none. */
  config(floats: Floats): ModelConfig;
  /** The file's name of a tensor of the Hugging Face layout. */
  tensorName(name: string): string;
  /** The other way round, as mlx-lm names it; null for what is no weight there. */
  publishedName(name: string): string | null;
  /** Norms are stored with one added to them. */
  readonly norms_have_one: boolean;
  /** What a vector of the file was made of, where the file holds what became of it. */
  before(name: string): ((stored: number) => number) | null;
  /** The heads of a projection whose rows the file stores in rotary pairs, else null. */
  pairedHeads(name: string): number | null;
}

type Floats = (name: string, size: number) => readonly number[] | null;
type Read = (key: string) => unknown;

/** One architecture where it is not like the others. */
interface Manner {
  /** Rows of queries and keys are stored in rotary pairs. */
  readonly paired?: boolean;
  /** Names within a block that are others here, or only here. */
  readonly names?: Readonly<Record<string, string>>;
  readonly norms_have_one?: boolean;
  /** What its config says beyond what all say. */
  config?(read: Read, floats: Floats): ModelConfig;
}

const GEMMA = { hidden_activation: "gelu_pytorch_tanh", torch_dtype: "bfloat16" };
const ARCHITECTURES: ReadonlyMap<string, Manner> = new Map<string, Manner>([
  ["cohere2", { config: cohere2 }],
  ["gemma", { norms_have_one: true, config: () => ({ model_type: "gemma", ...GEMMA }) }],
  ["gemma2", { norms_have_one: true, names: NORMS_BEHIND, config: gemma2 }],
  ["gemma3", { norms_have_one: true, names: NORMS_BEHIND, config: gemma3 }],
  ["glm4", { names: { ...NORMS_AROUND, ...GATE_UP }, config: partlyTurning }],
  ["gpt-oss", { names: GPT_OSS, config: gptOss }],
  ["granite", { paired: true, config: granite }],
  ["lfm2", { names: { ...LFM2, ...LFM2_DENSE }, config: lfm2 }],
  ["lfm2moe", { names: { ...LFM2, ...LFM2_EXPERTS }, config: lfm2Moe }],
  ["llama", { paired: true, names: MIXTRAL, config: mixtral }],
  ["olmo2", { names: NORMS_BEHIND, config: olmo }],
  ["phi3", { names: { "self_attn.qkv_proj": "attn_qkv", ...GATE_UP }, config: phi3 }],
  ["qwen2", {}],
  ["qwen2moe", { names: { ...QWEN_EXPERTS, ...QWEN_SHARED }, config: qwen2Moe }],
  ["qwen3", {}],
  ["qwen3moe", { names: QWEN_EXPERTS, config: qwen3Moe }],
  ["qwen3next", { names: QWEN3_NEXT, config: qwen3Next }],
  // the converter writes none of what makes SmolLM3 other than llama: it is the same in all of them
  ["smollm3", { paired: true, config: () => ({ no_rope_layer_interval: 4 }) }],
  ["starcoder2", { names: { "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down" }, config: starcoder2 }],
]);

export function architectureOf(file: GgufFile): Architecture {
  const name = String(file.metadata.get("general.architecture") ?? "unnamed");
  const manner = ARCHITECTURES.get(name);
  if (manner !== undefined) return architecture(file, name, manner);
  const known = [...ARCHITECTURES.keys()].join(", ");
  throw new Failure("unsupported", `Cannot load ${file.path}: its architecture is "${name}", known: ${known}`);
}

function architecture(file: GgufFile, name: string, manner: Manner): Architecture {
  const read: Read = (key) => file.metadata.get(`${name}.${key}`);
  const heads = read("attention.head_count");
  const kv_heads = read("attention.head_count_kv") ?? heads;
  refuseOther(file, name, read);
  const names = { ...BLOCK_NAMES, ...manner.names };
  const published = new Map(Object.entries(names).map(([own, stored]) => [stored, own]));
  return {
    norms_have_one: manner.norms_have_one === true,
    before: (tensor) => (tensor.endsWith(`.${DECAYS}`) ? (rate) => Math.log(-rate) : null),
    config: (floats) => ({ ...commonConfig(file, name, read, floats), ...manner.config?.(read, floats) }),
    tensorName: (tensor) => tensorName(tensor, names),
    publishedName: (tensor) => publishedName(tensor, published),
    pairedHeads(tensor) {
      if (manner.paired !== true) return null;
      if (tensor.endsWith(".self_attn.q_proj")) return Number(heads);
      return tensor.endsWith(".self_attn.k_proj") ? Number(kv_heads) : null;
    },
  };
}

/** Keys that say how it is computed, and what they may say. */
const ONLY: Readonly<Record<string, readonly unknown[]>> = {
  "attention.causal": [true],
  "attention.clamp_kqv": [0],
  "attention.max_alibi_bias": [0],
  expert_group_count: [0, 1],
  expert_weights_scale: [0, 1],
  pooling_type: [0],
};

/** A model that reads texts both ways, for one, or whose experts are asked in another way. */
function refuseOther(file: GgufFile, name: string, read: Read): void {
  const expert_gating_func = [GATINGS.get(name) ?? SOFTMAX];
  const asked: typeof ONLY = { ...ONLY, expert_gating_func };
  for (const [key, known] of Object.entries(asked)) {
    const found = read(key);
    if (found === undefined || known.includes(found)) continue;
    const state = `${name}.${key} is ${shown(String(found))}, which is not computed`;
    throw new Failure("unsupported", `Cannot load ${file.path}: ${state}`);
  }
}

const SOFTMAX = 1;

/** By a softmax over those that are asked; by a sigmoid of each. */
const GATINGS: ReadonlyMap<string, number> = new Map([
  ["gpt-oss", 3],
  ["lfm2moe", 2],
]);

function commonConfig(file: GgufFile, name: string, read: Read, floats: Floats): ModelConfig {
  const head_dim = read("attention.key_length") ?? read("rope.dimension_count") ?? headDim(read);
  return {
    model_type: name,
    hidden_size: read("embedding_length"),
    intermediate_size: read("feed_forward_length"),
    num_hidden_layers: read("block_count"),
    num_attention_heads: read("attention.head_count"),
    num_key_value_heads: read("attention.head_count_kv"),
    head_dim,
    vocab_size: read("vocab_size") ?? tokensOf(file),
    max_position_embeddings: read("context_length"),
    rms_norm_eps: read("attention.layer_norm_rms_epsilon"),
    rope_theta: read("rope.freq_base") ?? 10_000,
    layer_types: layerTypes(read("attention.sliding_window_pattern")),
    rope_scaling: ropeScaling(read, typeof head_dim === "number" ? floats("rope_freqs.weight", head_dim / 2) : null),
    num_experts: read("expert_count"),
    num_local_experts: read("expert_count"),
    num_experts_per_tok: read("expert_used_count"),
    attention_bias: file.tensors.has("blk.0.attn_q.bias"),
    tie_word_embeddings: !file.tensors.has("output.weight"),
  };
}

function tokensOf({ metadata }: GgufFile): number | undefined {
  const tokens = metadata.get("tokenizer.ggml.tokens");
  return Array.isArray(tokens) ? tokens.length : undefined;
}

/** Whether each layer sees a window only. */
function layerTypes(pattern: unknown): readonly string[] | undefined {
  if (!Array.isArray(pattern)) return undefined;
  return pattern.map((slides) => (slides ? "sliding_attention" : "full_attention"));
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

function cohere2(read: Read): ModelConfig {
  return {
    layer_norm_eps: read("attention.layer_norm_epsilon"),
    logit_scale: read("logit_scale"),
    sliding_window: read("attention.sliding_window"),
  };
}

/** Only a part of each head turns. */
function partlyTurning(read: Read): ModelConfig {
  const head_dim = headDim(read);
  return { head_dim, partial_rotary_factor: Number(read("rope.dimension_count") ?? head_dim) / head_dim };
}

/** The file does not say that the bounds of its yarn are not rounded: they are in none of the released models. */
function gptOss(read: Read): ModelConfig {
  const scaling = ropeScaling(read, null);
  return {
    model_type: "gpt_oss",
    intermediate_size: read("expert_feed_forward_length") ?? read("feed_forward_length"),
    sliding_window: read("attention.sliding_window"),
    rope_scaling: scaling && { ...scaling, truncate: false },
  };
}

/** A llama with experts is Mixtral. */
function mixtral(read: Read): ModelConfig {
  return Number(read("expert_count") ?? 0) > 0 ? { model_type: "mixtral" } : {};
}

/** Nor do files of Qwen's mixtures always say whether the shares of the experts that are asked are one together: they are in Qwen3's. */
function qwen2Moe(read: Read): ModelConfig {
  const inner_size = Number(read("feed_forward_length"));
  return {
    model_type: "qwen2_moe",
    moe_intermediate_size: read("expert_feed_forward_length") ?? inner_size / Number(read("expert_used_count")),
    shared_expert_intermediate_size: read("expert_shared_feed_forward_length") ?? inner_size,
    norm_topk_prob: read("expert_weights_norm") ?? false,
  };
}

function qwen3Moe(read: Read): ModelConfig {
  return {
    model_type: "qwen3_moe",
    moe_intermediate_size: read("expert_feed_forward_length"),
    norm_topk_prob: read("expert_weights_norm") ?? true,
  };
}

/** Nor of what else is so in all released models. */
function qwen3Next(read: Read): ModelConfig {
  const heads = Number(read("ssm.time_step_rank"));
  const recurrent = read("attention.recurrent_layers");
  return {
    ...qwen3Moe(read),
    ...partlyTurning(read),
    model_type: "qwen3_next",
    shared_expert_intermediate_size: read("expert_shared_feed_forward_length"),
    full_attention_interval: read("full_attention_interval") ?? 4,
    layer_types: Array.isArray(recurrent)
      ? recurrent.map((each) => (each ? "linear_attention" : "full_attention"))
      : undefined,
    linear_num_value_heads: heads,
    linear_num_key_heads: read("ssm.group_count"),
    linear_key_head_dim: read("ssm.state_size"),
    linear_value_head_dim: Number(read("ssm.inner_size")) / heads,
    linear_conv_kernel_dim: read("ssm.conv_kernel"),
  };
}

/** Layers without key heads convolve. */
function lfm2(read: Read): ModelConfig {
  const kv_heads = read("attention.head_count_kv");
  const each = Array.isArray(kv_heads) ? kv_heads.map(Number) : null;
  return {
    norm_eps: read("attention.layer_norm_rms_epsilon"),
    num_key_value_heads: each === null ? kv_heads : Math.max(...each),
    layer_types: each?.map((heads) => (heads === 0 ? "conv" : "full_attention")),
    conv_bias: false,
    conv_L_cache: read("shortconv.l_cache"),
    // its size of the feed-forward layers is the one that they have
    ...{ block_dim: read("embedding_length"), block_auto_adjust_ff_dim: false },
    ...{ block_multiple_of: 1, block_ffn_dim_multiplier: 1 },
  };
}

function lfm2Moe(read: Read): ModelConfig {
  return {
    ...lfm2(read),
    model_type: "lfm2_moe",
    moe_intermediate_size: read("expert_feed_forward_length"),
    num_dense_layers: read("leading_dense_block_count") ?? 0,
    ...{ norm_topk_prob: true, use_expert_bias: true, routed_scaling_factor: 1 }, // as in all released models
  };
}

/** The file lacks the window, which is this in all released models, as transformers counts it; llama.cpp lets every layer see all. */
function starcoder2(read: Read): ModelConfig {
  return {
    norm_epsilon: read("attention.layer_norm_epsilon"),
    hidden_act: "gelu_pytorch_tanh",
    sliding_window: read("attention.sliding_window") ?? 4096,
  };
}

function headDim(read: Read): number {
  return Number(
    read("attention.key_length") ?? Number(read("embedding_length")) / Number(read("attention.head_count")),
  );
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
  const short_factor = floats("rope_factors_short.weight", Number(read("rope.dimension_count")) / 2);
  return {
    ...partlyTurning(read),
    sliding_window: read("attention.sliding_window") || null, // 0 where there is none
    original_max_position_embeddings: read("rope.scaling.original_context_length"),
    rope_scaling:
      short_factor === null
        ? ropeScaling(read, null)
        : {
            ...{ rope_type: "longrope", short_factor, attention_factor: read("rope.scaling.attn_factor") },
            original_max_position_embeddings: read("rope.scaling.original_context_length"),
          },
  };
}

function ropeScaling(read: Read, factors: readonly number[] | null): ModelConfig | null {
  if (factors !== null) return { rope_type: "factors", factors };
  const kind = read("rope.scaling.type") ?? (read("rope.scale_linear") === undefined ? "none" : "linear");
  if (kind === "none") return null;
  return {
    rope_type: kind,
    factor: read("rope.scaling.factor") ?? read("rope.scale_linear"),
    original_max_position_embeddings: read("rope.scaling.original_context_length"),
    attention_factor: read("rope.scaling.yarn_attn_factor"),
    beta_fast: read("rope.scaling.yarn_beta_fast"),
    beta_slow: read("rope.scaling.yarn_beta_slow"),
  };
}
