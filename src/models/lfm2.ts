/**
 * LFM2: short convolutions between gates, attention in a few of the layers, SwiGLU; `model_type` "lfm2".
 * Rope scaling counts as in transformers; mlx-lm knows none.
 */

import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mixerReader } from "./lfm2-mixers.ts";
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadLfm2(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head: "as the file has it" });
  const { hidden_size } = sizes;
  const epsilon = reader.numberOr("norm_eps", 1e-5);
  const inner_size = innerSize(reader);
  reader.only("block_dim", hidden_size);
  reader.only("block_use_swiglu", true);
  reader.only("use_pos_enc", true);
  const { attention_layers, state_shapes, readMixer } = mixerReader(reader, weights, sizes);

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim, base: 1_000_000 }, weights.file));
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          readMixer(layer, prefix, rope),
          mlp({
            gate: weights.linear(`${prefix}.feed_forward.w1`, inner_size, hidden_size, false),
            up: weights.linear(`${prefix}.feed_forward.w3`, inner_size, hidden_size, false),
            down: weights.linear(`${prefix}.feed_forward.w2`, hidden_size, inner_size, false),
            norm: rms(weights, `${prefix}.ffn_norm`, hidden_size, epsilon),
            activation: "silu",
          }),
        ),
      ),
      norm: rms(weights, "model.embedding_norm", hidden_size, epsilon),
      positions_max: rope.positions_max,
      attention_layers,
      state_shapes,
    };
  });
}

/** The config names a size of which, in most models, two thirds are meant. */
function innerSize(reader: ConfigReader): number {
  const named = reader.optionalDimension("block_ff_dim") ?? reader.dimension("intermediate_size");
  if (reader.booleanOr("block_auto_adjust_ff_dim", true) !== true) return named;
  const multiple = reader.dimensionOr("block_multiple_of", 256);
  const smaller = Math.trunc(Math.trunc((2 * named) / 3) * (reader.optionalPositive("block_ffn_dim_multiplier") ?? 1));
  return multiple * Math.ceil(smaller / multiple);
}
