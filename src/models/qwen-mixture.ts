/** The mixture of experts as Qwen's configs and files name it. Knows no attention. */

import type { ConfigReader } from "./config.ts";
import type { Sizes } from "./decoder.ts";
import type { MixtureParts } from "./mixture.ts";
import type { Weights } from "./weights.ts";

/** Which layers are mixtures; the others are dense. */
export function mixingLayers(reader: ConfigReader, { layers }: Sizes): boolean[] {
  const step = reader.dimensionOr("decoder_sparse_step", 1);
  const dense = new Set(reader.numbersOr("mlp_only_layers"));
  return Array.from({ length: layers }, (_, layer) => (layer + 1) % step === 0 && !dense.has(layer));
}

/** Reads the config once; what it gives reads the mixture of one layer under its prefix. */
export function mixtureReader(reader: ConfigReader, weights: Weights, hidden_size: number) {
  const count = reader.dimension(reader.has("num_experts") ? "num_experts" : "num_local_experts"); // transformers 5
  const asked = reader.dimension("num_experts_per_tok");
  const inner_size = reader.dimension("moe_intermediate_size");
  const shares = reader.flag("norm_topk_prob") ? "softmax_asked" : "softmax_all";
  return (prefix: string): Omit<MixtureParts, "norm"> => {
    const experts = (name: string, rows: number, columns: number) => {
      const each = (expert: number) => `${prefix}.experts.${expert}.${name}`;
      return weights.experts({ whole: `${prefix}.switch_mlp.${name}`, each }, count, rows, columns, false);
    };
    return {
      router: weights.linear(`${prefix}.gate`, count, hidden_size, false),
      gate: experts("gate_proj", inner_size, hidden_size),
      up: experts("up_proj", inner_size, hidden_size),
      down: experts("down_proj", hidden_size, inner_size),
      asked,
      shares,
    };
  };
}
