/** What GGUF files call the tensors of a model, beside their names as they were published. Knows no metadata. */

export const NORMS_BEHIND = {
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};

export const NORMS_AROUND = { post_self_attn_layernorm: "post_attention_norm", post_mlp_layernorm: "post_ffw_norm" };
export const GATE_UP = { "mlp.gate_up_proj": "ffn_up" };
export const MIXTRAL = {
  "block_sparse_moe.gate": "ffn_gate_inp",
  ...expertNames("block_sparse_moe.switch_mlp", "exps"),
};
export const QWEN_EXPERTS = { "mlp.gate": "ffn_gate_inp", ...expertNames("mlp.switch_mlp", "exps") };
export const QWEN_SHARED = {
  "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
  ...expertNames("mlp.shared_expert", "shexp"),
};
export const LFM2 = {
  operator_norm: "attn_norm",
  "self_attn.q_layernorm": "attn_q_norm",
  "self_attn.k_layernorm": "attn_k_norm",
  "self_attn.out_proj": "attn_output",
  "conv.conv": "shortconv.conv",
  "conv.in_proj": "shortconv.in_proj",
  "conv.out_proj": "shortconv.out_proj",
  ffn_norm: "ffn_norm",
};
export const LFM2_DENSE = { "feed_forward.w1": "ffn_gate", "feed_forward.w3": "ffn_up", "feed_forward.w2": "ffn_down" };
export const LFM2_EXPERTS = {
  "feed_forward.gate_proj": "ffn_gate",
  "feed_forward.up_proj": "ffn_up",
  "feed_forward.down_proj": "ffn_down",
  "feed_forward.gate": "ffn_gate_inp",
  ...expertNames("feed_forward.switch_mlp", "exps"),
};
export const QWEN3_NEXT = {
  ...QWEN_EXPERTS,
  ...QWEN_SHARED,
  post_attention_layernorm: "post_attention_norm",
  "linear_attn.in_proj_qkv": "attn_qkv",
  "linear_attn.in_proj_z": "attn_gate",
  "linear_attn.in_proj_qkvz": "ssm_in", // older files
  "linear_attn.in_proj_ba": "ssm_ba",
  "linear_attn.conv1d": "ssm_conv1d",
  "linear_attn.norm": "ssm_norm",
  "linear_attn.out_proj": "ssm_out",
};
export const GPT_OSS = {
  post_attention_layernorm: "post_attention_norm",
  "mlp.router": "ffn_gate_inp",
  ...expertNames("mlp.experts", "exps"),
};

const OUTER_NAMES: ReadonlyMap<string, string> = new Map([
  ["model.embed_tokens", "token_embd"],
  ["model.norm", "output_norm"],
  ["model.embedding_norm", "token_embd_norm"],
  ["lm_head", "output"],
]);

export const DECAYS = "linear_attn.A_log";
/** Tensors of a block whose names do not end in weight or bias, or not in both layouts. */
const WHOLE_NAMES: ReadonlyMap<string, string> = new Map([
  ["self_attn.sinks", "attn_sinks.weight"],
  ["feed_forward.expert_bias", "exp_probs_b.bias"],
  ["linear_attn.dt_bias", "ssm_dt.bias"],
  [DECAYS, "ssm_a"],
]);

export const BLOCK_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

export function tensorName(name: string, block_names: Readonly<Record<string, string>>): string {
  const [, layer, rest = ""] = /^(?:model\.layers\.(\d+)\.)?(.*)$/.exec(name) ?? [];
  const [, middle = "", kind = "weight"] = /^(.*?)(?:\.(weight|bias))?$/.exec(rest) ?? [];
  if (layer === undefined) return `${OUTER_NAMES.get(middle) ?? middle}.${kind}`;
  return `blk.${layer}.${WHOLE_NAMES.get(rest) ?? `${block_names[middle] ?? middle}.${kind}`}`;
}

export function publishedName(name: string, published: ReadonlyMap<string, string>): string | null {
  const [, layer, rest = ""] = /^(?:blk\.(\d+)\.)?(.*)$/.exec(name) ?? [];
  const [, middle = "", kind] = /^(.*)\.(weight|bias)$/.exec(rest) ?? [];
  if (layer === undefined) {
    const outer = [...OUTER_NAMES].find(([, own]) => own === middle);
    return outer === undefined ? null : `${outer[0]}.${kind}`;
  }
  const whole = [...WHOLE_NAMES].find(([, stored]) => stored === rest);
  if (whole !== undefined) return `model.layers.${layer}.${whole[0]}`;
  const own = published.get(middle);
  return own === undefined ? null : `model.layers.${layer}.${own}.${kind}`;
}

function expertNames(prefix: string, suffix: string): Record<string, string> {
  const parts = ["gate", "up", "down"];
  return Object.fromEntries(parts.map((part) => [`${prefix}.${part}_proj`, `ffn_${part}_${suffix}`]));
}
