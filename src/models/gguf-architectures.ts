/** What GGUF files call things, by architecture: their metadata as a config, their tensors by Hugging Face names. */

import { Failure } from "../core/failure.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { ModelConfig } from "./config.ts";

export interface Architecture {
  /** The metadata in the words of config.json; `floats` reads a small tensor, null where there is none. */
  config(floats: (name: string, size: number) => readonly number[] | null): ModelConfig;
  /** The file's name of a tensor of the Hugging Face layout. */
  tensorName(name: string): string;
  /** The heads of a projection whose rows the file stores in rotary pairs, else null. */
  pairedHeads(name: string): number | null;
}

const ARCHITECTURES: ReadonlyMap<string, (file: GgufFile) => Architecture> = new Map([["llama", llama]]);

export function architectureOf(file: GgufFile): Architecture {
  const name = file.metadata.get("general.architecture");
  const architecture = ARCHITECTURES.get(String(name));
  if (architecture !== undefined) return architecture(file);
  const known = [...ARCHITECTURES.keys()].join(", ");
  throw new Failure(
    "unsupported",
    `Cannot load ${file.path}: its architecture is "${name ?? "unnamed"}", known: ${known}`,
  );
}

const OUTER_NAMES: ReadonlyMap<string, string> = new Map([
  ["model.embed_tokens", "token_embd"],
  ["model.norm", "output_norm"],
  ["lm_head", "output"],
]);

const BLOCK_NAMES: ReadonlyMap<string, string> = new Map([
  ["input_layernorm", "attn_norm"],
  ["self_attn.q_proj", "attn_q"],
  ["self_attn.k_proj", "attn_k"],
  ["self_attn.v_proj", "attn_v"],
  ["self_attn.o_proj", "attn_output"],
  ["post_attention_layernorm", "ffn_norm"],
  ["mlp.gate_proj", "ffn_gate"],
  ["mlp.up_proj", "ffn_up"],
  ["mlp.down_proj", "ffn_down"],
]);

function llama(file: GgufFile): Architecture {
  const read = (key: string) => file.metadata.get(`llama.${key}`);
  const heads = read("attention.head_count");
  const kv_heads = read("attention.head_count_kv") ?? heads;
  const head_dim = read("attention.key_length") ?? read("rope.dimension_count");
  const tokens = file.metadata.get("tokenizer.ggml.tokens");
  const vocabulary_size = read("vocab_size") ?? (Array.isArray(tokens) ? tokens.length : undefined);
  return {
    config: (floats) => ({
      model_type: "llama",
      hidden_size: read("embedding_length"),
      intermediate_size: read("feed_forward_length"),
      num_hidden_layers: read("block_count"),
      num_attention_heads: heads,
      num_key_value_heads: kv_heads,
      head_dim,
      vocab_size: vocabulary_size,
      max_position_embeddings: read("context_length"),
      rms_norm_eps: read("attention.layer_norm_rms_epsilon"),
      rope_theta: read("rope.freq_base"),
      rope_scaling: ropeScaling(read, typeof head_dim === "number" ? floats("rope_freqs.weight", head_dim / 2) : null),
      attention_bias: file.tensors.has("blk.0.attn_q.bias"),
      tie_word_embeddings: !file.tensors.has("output.weight"),
    }),
    tensorName,
    pairedHeads(name) {
      if (name.endsWith(".self_attn.q_proj")) return Number(heads);
      return name.endsWith(".self_attn.k_proj") ? Number(kv_heads) : null;
    },
  };
}

function tensorName(name: string): string {
  const split = /^(model\.layers\.(\d+)\.)?(.*)\.(weight|bias)$/.exec(name);
  const [, , layer, middle = "", kind] = split ?? [];
  if (layer === undefined) return `${OUTER_NAMES.get(middle) ?? middle}.${kind}`;
  return `blk.${layer}.${BLOCK_NAMES.get(middle) ?? middle}.${kind}`;
}

function ropeScaling(read: (key: string) => unknown, factors: readonly number[] | null): ModelConfig | null {
  if (factors !== null) return { rope_type: "factors", factors };
  const kind = read("rope.scaling.type") ?? (read("rope.scale_linear") === undefined ? "none" : "linear");
  if (kind === "none") return null;
  return {
    rope_type: kind,
    factor: read("rope.scaling.factor") ?? read("rope.scale_linear"),
    original_max_position_embeddings: read("rope.scaling.original_context_length"),
  };
}
