/**
 * Qwen3-MoE: Qwen3's attention and a mixture of experts; `model_type` "qwen3_moe".
 * Windows and scalings of positions count as in transformers; mlx-lm lets every layer see all, at plain positions.
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
  windowsOf,
} from "./decoder.ts";
import type { Model, Windows } from "./family.ts";
import { mixture } from "./mixture.ts";
import { mlp } from "./mlp.ts";
import { mixingLayers, mixtureReader } from "./qwen-mixture.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadQwen3Moe(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head_dim: 128 });
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const bias = reader.flag("attention_bias");
  const windows = qwen3MoeWindows(reader);
  const mixes = mixingLayers(reader, sizes);
  const readMixture = mixtureReader(reader, weights, hidden_size);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: head_dim }, weights.file));
    const norm = (name: string, size = hidden_size) => rms(weights, name, size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) => {
        const before = norm(`${prefix}.post_attention_layernorm`);
        return sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope, heads, kv_heads, head_dim },
            norm: norm(`${prefix}.input_layernorm`),
            q_norm: norm(`${prefix}.self_attn.q_norm`, head_dim),
            k_norm: norm(`${prefix}.self_attn.k_norm`, head_dim),
            scale: head_dim ** -0.5,
            window: windows[layer] ?? undefined,
          }),
          mixes[layer]
            ? mixture({ ...readMixture(`${prefix}.mlp`), norm: before })
            : mlp({
                ...gateUpDown(weights, `${prefix}.mlp`, hidden_size, reader.dimension("intermediate_size")),
                norm: before,
                activation: "silu",
              }),
        );
      }),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
    };
  });
}

export function qwen3MoeWindows(reader: ConfigReader): Windows {
  const sliding = slidingLayers(reader, () => true);
  return windowsOf(sliding, reader.flag("use_sliding_window") ? reader.dimension("sliding_window") : undefined);
}
