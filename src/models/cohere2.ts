/**
 * Command R7B and its kin: attention and feed-forward side by side over one norm by mean and variance; three layers of
 * four see a window and turn in pairs of neighbours, the fourth sees all and has no positions; `model_type` "cohere2".
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import {
  blocksOf,
  decoder,
  gateUpDown,
  layerNorm,
  parallel,
  qkvo,
  readSizes,
  slidingLayers,
  windowsOf,
} from "./decoder.ts";
import type { Model, Windows } from "./family.ts";
import { mlp } from "./mlp.ts";
import { noRope, readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadCohere2(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head: "as the file has it" });
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("layer_norm_eps", 1e-5);
  const bias = reader.flag("attention_bias");
  const windows = cohere2Windows(reader);
  reader.only("hidden_act", "silu");
  const norm_bias = reader.flag("layer_norm_bias");
  reader.only("use_qk_norm", false);

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: head_dim, pairs: "neighbours", base: 50_000 }, weights.file));
    const still = own.use(noRope());
    const norm = (name: string) => layerNorm(weights, name, hidden_size, epsilon, norm_bias);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        parallel(
          own,
          norm(`${prefix}.input_layernorm`),
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, heads, kv_heads, head_dim },
            rope: windows[layer] ? rope : still,
            scale: head_dim ** -0.5,
            window: windows[layer] ?? undefined,
          }),
          mlp({ ...gateUpDown(weights, `${prefix}.mlp`, hidden_size, inner_size), activation: "silu" }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
      logit_factor: reader.numberOr("logit_scale", 0.0625),
    };
  });
}

export function cohere2Windows(reader: ConfigReader): Windows {
  const pattern = reader.dimensionOr("sliding_window_pattern", 4);
  const sliding = slidingLayers(reader, (layer) => (layer + 1) % pattern !== 0);
  return windowsOf(sliding, reader.dimensionOr("sliding_window", 4096));
}
