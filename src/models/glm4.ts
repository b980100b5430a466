/**
 * GLM-4: norms on both sides of attention and feed-forward, half of a head turning in pairs of neighbours;
 * `model_type` "glm4".
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, packedGateUpDown, qkvo, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mlp } from "./mlp.ts";
import { readRope, rotaryDims } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadGlm4(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head: "as the file has it" });
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-5);
  const bias = reader.flag("attention_bias");
  const dims = rotaryDims(config, head_dim, weights.file, 0.5);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims, pairs: "neighbours" }, weights.file));
    const norm = (name: string) => rms(weights, name, hidden_size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: false }),
            ...{ layer, rope, heads, kv_heads, head_dim },
            norm: norm(`${prefix}.input_layernorm`),
            post_norm: norm(`${prefix}.post_self_attn_layernorm`),
            scale: head_dim ** -0.5,
          }),
          mlp({
            ...packedGateUpDown(weights, `${prefix}.mlp`, hidden_size, inner_size),
            norm: norm(`${prefix}.post_attention_layernorm`),
            post_norm: norm(`${prefix}.post_mlp_layernorm`),
            activation: "silu",
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
    };
  });
}
