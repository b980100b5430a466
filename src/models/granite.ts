/**
 * Granite 3: llama's blocks with factors on the embeddings, the scores, what each layer adds, and the logits;
 * `model_type` "granite".
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, gateUpDown, qkvo, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadGranite(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const attention_bias = reader.flag("attention_bias");
  const mlp_bias = reader.flag("mlp_bias");
  const residual_factor = reader.numberOr("residual_multiplier", 1);
  const scale = reader.numberOr("attention_multiplier", 1);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim }, weights.file));
    const norm = (name: string) => rms(weights, name, sizes.hidden_size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: attention_bias, o: attention_bias }),
            ...{ layer, rope, heads: sizes.heads, kv_heads: sizes.kv_heads, head_dim: sizes.head_dim },
            ...{ scale, residual_factor },
            norm: norm(`${prefix}.input_layernorm`),
          }),
          mlp({
            ...gateUpDown(weights, `${prefix}.mlp`, sizes.hidden_size, inner_size, mlp_bias),
            norm: norm(`${prefix}.post_attention_layernorm`),
            activation: "silu",
            residual_factor,
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
      embedding_factor: reader.numberOr("embedding_multiplier", 1),
      logit_factor: 1 / reader.numberOr("logits_scaling", 1),
    };
  });
}
