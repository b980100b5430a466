/**
 * Gemma 3, text only: Gemma 2's blocks with norms of each head in place of caps, and five layers of six that see a
 * window and turn by a base of their own; `model_type` "gemma3_text". The factor of the embeddings is rounded to
 * bfloat16, as in mlx-lm; in transformers to what the weights are held in.
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import {
  blocksOf,
  decoder,
  gateUpDown,
  qkvo,
  readSizes,
  rms,
  sequential,
  slidingLayers,
  toBfloat16,
  windowsOf,
} from "./decoder.ts";
import type { Model, Windows } from "./family.ts";
import { mlp } from "./mlp.ts";
import { plainRope, readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

/** Where the config does not say. */
export const GEMMA3_CONTEXT_LENGTH = 131_072;

export function loadGemma3Text(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head_dim: 256, context_length: GEMMA3_CONTEXT_LENGTH, head: "as the file has it" });
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const bias = reader.flag("attention_bias");
  const scale = reader.numberOr("query_pre_attn_scalar", 256) ** -0.5;
  const soft_cap = reader.optionalPositive("attn_logit_softcapping");
  const windows = gemma3Windows(reader);
  reader.only("hidden_activation", "gelu_pytorch_tanh");

  return decoder(weights, sizes, (own) => {
    const dims = sizes.head_dim;
    const wide = own.use(readRope(config, { dims, base: 1_000_000, layer_type: "full_attention" }, weights.file));
    const near = own.use(plainRope({ dims }, localBase(reader)));
    const norm = (name: string, size = sizes.hidden_size) => rms(weights, name, size, epsilon, 1);
    return {
      positions_max: wide.positions_max,
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{
              layer,
              rope: windows[layer] ? near : wide,
              heads: sizes.heads,
              kv_heads: sizes.kv_heads,
              head_dim: sizes.head_dim,
            },
            norm: norm(`${prefix}.input_layernorm`),
            q_norm: norm(`${prefix}.self_attn.q_norm`, sizes.head_dim),
            k_norm: norm(`${prefix}.self_attn.k_norm`, sizes.head_dim),
            post_norm: norm(`${prefix}.post_attention_layernorm`),
            scale,
            soft_cap,
            window: windows[layer] ?? undefined,
          }),
          mlp({
            ...gateUpDown(weights, `${prefix}.mlp`, sizes.hidden_size, inner_size),
            norm: norm(`${prefix}.pre_feedforward_layernorm`),
            post_norm: norm(`${prefix}.post_feedforward_layernorm`),
            activation: "gelu_tanh",
          }),
        ),
      ),
      norm: norm("model.norm"),
      embedding_factor: toBfloat16(Math.sqrt(sizes.hidden_size)),
      logit_cap: reader.optionalPositive("final_logit_softcapping"),
    };
  });
}

export function gemma3Windows(reader: ConfigReader): Windows {
  const pattern = reader.dimensionOr("sliding_window_pattern", 6);
  const sliding = slidingLayers(reader, (layer) => (layer + 1) % pattern !== 0);
  return windowsOf(sliding, reader.dimensionOr("sliding_window", 4096));
}

function localBase(reader: ConfigReader): number {
  const stated = reader.object("rope_parameters")?.object("sliding_attention")?.numberOr("rope_theta", 10_000);
  return stated ?? reader.numberOr("rope_local_base_freq", 10_000);
}
