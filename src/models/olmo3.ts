/**
 * OLMo 3: OLMo 2's blocks, where three layers of four see a window only and keep the plain positions;
 * `model_type` "olmo3".
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
import { nearRope, readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadOlmo3(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-5);
  const bias = reader.flag("attention_bias");
  const windows = olmo3Windows(reader);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const turns = { dims: head_dim, base: 500_000 };
    const wide = own.use(readRope(config, { ...turns, layer_type: "full_attention" }, weights.file));
    const near = own.use(nearRope(config, turns, weights.file));
    const norm = (name: string, size = hidden_size) => rms(weights, name, size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope: windows[layer] ? near : wide, heads, kv_heads, head_dim },
            q_norm: norm(`${prefix}.self_attn.q_norm`, heads * head_dim),
            k_norm: norm(`${prefix}.self_attn.k_norm`, kv_heads * head_dim),
            post_norm: norm(`${prefix}.post_attention_layernorm`),
            scale: head_dim ** -0.5,
            window: windows[layer] ?? undefined,
          }),
          mlp({
            ...gateUpDown(weights, `${prefix}.mlp`, hidden_size, inner_size),
            post_norm: norm(`${prefix}.post_feedforward_layernorm`),
            activation: "silu",
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: wide.positions_max,
    };
  });
}

export function olmo3Windows(reader: ConfigReader): Windows {
  const sliding = slidingLayers(reader, (layer) => (layer + 1) % 4 !== 0);
  return windowsOf(sliding, reader.dimension("sliding_window"));
}
