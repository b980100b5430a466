/**
 * OLMo 2: norms behind attention and feed-forward instead of before, and of all heads' queries and keys together;
 * `model_type` "olmo2".
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, gateUpDown, qkvo, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadOlmo2(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-5);
  const bias = reader.flag("attention_bias");
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: head_dim }, weights.file));
    const norm = (name: string, size = hidden_size) => rms(weights, name, size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope, heads, kv_heads, head_dim },
            q_norm: norm(`${prefix}.self_attn.q_norm`, heads * head_dim),
            k_norm: norm(`${prefix}.self_attn.k_norm`, kv_heads * head_dim),
            post_norm: norm(`${prefix}.post_attention_layernorm`),
            scale: head_dim ** -0.5,
          }),
          mlp({
            ...gateUpDown(weights, `${prefix}.mlp`, hidden_size, inner_size),
            post_norm: norm(`${prefix}.post_feedforward_layernorm`),
            activation: "silu",
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
    };
  });
}
