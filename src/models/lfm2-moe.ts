/**
 * LFM2-MoE: the layers of LFM2 with mixtures of experts behind the first few; `model_type` "lfm2_moe". Each expert's share is
 * a sigmoid of its own score. Rope scaling counts as in transformers; mlx-lm knows none.
 */

import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, gateUpDown, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mixerReader } from "./lfm2-mixers.ts";
import { mixture } from "./mixture.ts";
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import { renamed, type Weights } from "./weights.ts";

// As MLX's files name the matrices of a feed-forward layer, and as they were published.
const PUBLISHED: Readonly<Record<string, string>> = { gate_proj: "w1", up_proj: "w3", down_proj: "w2" };

export function loadLfm2Moe(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head: "as the file has it" });
  const { hidden_size } = sizes;
  const epsilon = reader.numberOr("norm_eps", 1e-5);
  const inner_size = reader.dimension("intermediate_size");
  const expert_size = reader.dimension("moe_intermediate_size");
  const count = reader.dimension("num_experts");
  const asked = reader.dimension("num_experts_per_tok");
  const dense_layers = reader.numberOr("num_dense_layers", 0);
  const divided = reader.booleanOr("norm_topk_prob", true) === true;
  const biased = reader.booleanOr("use_expert_bias", true) === true;
  const factor = reader.numberOr("routed_scaling_factor", 1);
  const { attention_layers, state_shapes, readMixer } = mixerReader(reader, weights, sizes);
  const named = inMlxNames(weights);

  const readMixture = (prefix: string) => {
    const experts = (name: string, rows: number, columns: number) => {
      const each = (expert: number) => `${prefix}.experts.${expert}.${name}`;
      return named.experts({ whole: `${prefix}.switch_mlp.${name}`, each }, count, rows, columns, false);
    };
    return {
      router: weights.linear(`${prefix}.gate`, count, hidden_size, false),
      gate: experts("gate_proj", expert_size, hidden_size),
      up: experts("up_proj", expert_size, hidden_size),
      down: experts("down_proj", hidden_size, expert_size),
      shares: { choice_bias: biased ? weights.vector(`${prefix}.expert_bias`, count) : null, divided, factor },
      asked,
    };
  };
  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim, base: 1_000_000 }, weights.file));
    return {
      blocks: blocksOf(sizes, (layer, prefix) => {
        const at = `${prefix}.feed_forward`;
        const norm = rms(weights, `${prefix}.ffn_norm`, hidden_size, epsilon);
        const feed =
          layer < dense_layers
            ? mlp({ ...gateUpDown(named, at, hidden_size, inner_size), norm, activation: "silu" })
            : mixture({ ...readMixture(at), norm });
        return sequential(own, readMixer(layer, prefix, rope), feed);
      }),
      norm: rms(weights, "model.embedding_norm", hidden_size, epsilon),
      positions_max: rope.positions_max,
      attention_layers,
      state_shapes,
    };
  });
}

/** The same weights under the names that MLX's files have, whichever these have. */
function inMlxNames(weights: Weights): Weights {
  return renamed(weights, (name) => {
    const published = name.replace(/(?:gate|up|down)_proj(?=\.|$)/, (part) => PUBLISHED[part] ?? part);
    return weights.has(`${name}.weight`) || !weights.has(`${published}.weight`) ? name : published;
  });
}
