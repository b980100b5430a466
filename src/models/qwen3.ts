/**
 * Qwen3: llama's blocks with a norm of each head's queries and keys; `model_type` "qwen3".
 * Layers from `max_window_layers` on may see a window only, as in transformers; mlx-lm lets them see all.
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, gateUpDown, qkvo, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mlp } from "./mlp.ts";
import { qwen2Windows } from "./qwen2.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadQwen3(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head_dim: 128 });
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const bias = reader.flag("attention_bias");
  const windows = qwen2Windows(reader);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim }, weights.file));
    const norm = (name: string, size = sizes.hidden_size) => rms(weights, name, size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope, heads: sizes.heads, kv_heads: sizes.kv_heads, head_dim: sizes.head_dim },
            norm: norm(`${prefix}.input_layernorm`),
            q_norm: norm(`${prefix}.self_attn.q_norm`, sizes.head_dim),
            k_norm: norm(`${prefix}.self_attn.k_norm`, sizes.head_dim),
            scale: sizes.head_dim ** -0.5,
            window: windows[layer] ?? undefined,
          }),
          mlp({
            ...gateUpDown(weights, `${prefix}.mlp`, sizes.hidden_size, inner_size),
            norm: norm(`${prefix}.post_attention_layernorm`),
            activation: "silu",
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
    };
  });
}
