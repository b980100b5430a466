/**
 * Mistral 7B and its kin: llama's blocks, where every layer may see a window only; `model_type` "mistral".
 * The window counts as in transformers; mlx-lm heeds it only where `layer_types` names the layers.
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

export function loadMistral(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const windows = mistralWindows(reader);
  reader.only("hidden_act", "silu");
  reader.only("attention_bias", false);

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim }, weights.file));
    const norm = (name: string) => rms(weights, name, sizes.hidden_size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: false, o: false }),
            ...{ layer, rope, heads: sizes.heads, kv_heads: sizes.kv_heads, head_dim: sizes.head_dim },
            norm: norm(`${prefix}.input_layernorm`),
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

export function mistralWindows(reader: ConfigReader): Windows {
  const sliding = slidingLayers(reader, () => true);
  return windowsOf(sliding, reader.optionalDimension("sliding_window"));
}
