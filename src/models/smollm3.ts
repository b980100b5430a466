/**
 * SmolLM3: llama's blocks, where every fourth layer has no positions; `model_type` "smollm3".
 * `no_rope_layers` holds a 1 for each layer that turns, whatever its name says.
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
import { noRope, readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadSmollm3(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const attention_bias = reader.flag("attention_bias");
  const mlp_bias = reader.flag("mlp_bias");
  const turns = turningLayers(reader);
  const windows = smollm3Windows(reader);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim, base: 2_000_000 }, weights.file));
    const still = own.use(noRope());
    const norm = (name: string) => rms(weights, name, sizes.hidden_size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: attention_bias, o: attention_bias }),
            ...{ layer, heads: sizes.heads, kv_heads: sizes.kv_heads, head_dim: sizes.head_dim },
            rope: turns[layer] ? rope : still,
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

export function smollm3Windows(reader: ConfigReader): Windows {
  const turns = turningLayers(reader);
  const slides = reader.has("layer_types") || reader.flag("use_sliding_window");
  const sliding = slidingLayers(reader, (layer) => !turns[layer]);
  return windowsOf(sliding, slides ? reader.optionalDimension("sliding_window") : undefined);
}

function turningLayers(reader: ConfigReader): boolean[] {
  const layers = reader.dimension("num_hidden_layers");
  const stated = reader.numbersOr("no_rope_layers", layers);
  if (stated !== null) return stated.map((each) => each !== 0);
  const interval = reader.dimensionOr("no_rope_layer_interval", 4);
  return Array.from({ length: layers }, (_, layer) => (layer + 1) % interval !== 0);
}
