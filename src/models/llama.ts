/**
 * The llama family: Llama 1 to 3, SmolLM2, TinyLlama and all that share their layout.
 * Pre-norm blocks, grouped-query attention with rotary positions, SwiGLU; `model_type` "llama".
 * Layers may see a window only where `layer_types` says so, as in mlx-lm.
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
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadLlama(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const attention_bias = reader.flag("attention_bias");
  const mlp_bias = reader.flag("mlp_bias");
  const windows = llamaWindows(reader);
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
            norm: norm(`${prefix}.input_layernorm`),
            scale: sizes.head_dim ** -0.5,
            window: windows[layer] ?? undefined,
          }),
          mlp({
            ...gateUpDown(weights, `${prefix}.mlp`, sizes.hidden_size, inner_size, mlp_bias),
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

export function llamaWindows(reader: ConfigReader): Windows {
  const sliding = slidingLayers(reader, () => false);
  return windowsOf(sliding, sliding.includes(true) ? reader.dimension("sliding_window") : undefined);
}
