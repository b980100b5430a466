/**
 * Gemma 2: Gemma's blocks with norms on both sides, capped scores and logits, and a window in every other layer;
 * `model_type` "gemma2". The window counts as in transformers; mlx-lm lets every layer see all.
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import {
  blocksOf,
  decoder,
  embeddingRoot,
  gateUpDown,
  qkvo,
  readSizes,
  rms,
  sequential,
  slidingLayers,
  windowsOf,
} from "./decoder.ts";
import type { Model, Windows } from "./family.ts";
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadGemma2(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head_dim: 256, head: "as the file has it" });
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const bias = reader.flag("attention_bias");
  const scale = reader.numberOr("query_pre_attn_scalar", 256) ** -0.5;
  const soft_cap = reader.positiveUnlessNull("attn_logit_softcapping", 50);
  const windows = gemma2Windows(reader);
  reader.only("hidden_activation", "gelu_pytorch_tanh");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim }, weights.file));
    const norm = (name: string) => rms(weights, name, sizes.hidden_size, epsilon, 1);
    return {
      positions_max: rope.positions_max,
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope, heads: sizes.heads, kv_heads: sizes.kv_heads, head_dim: sizes.head_dim },
            norm: norm(`${prefix}.input_layernorm`),
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
      embedding_factor: embeddingRoot(reader, sizes.hidden_size),
      logit_cap: reader.positiveUnlessNull("final_logit_softcapping", 30),
    };
  });
}

export function gemma2Windows(reader: ConfigReader): Windows {
  const sliding = slidingLayers(reader, (layer) => layer % 2 === 0);
  return windowsOf(sliding, reader.dimensionOr("sliding_window", 4096));
}
