/**
 * Mixtral: Mistral's attention, and a mixture of experts in each layer; `model_type` "mixtral".
 * The window and scalings of positions count as in transformers; mlx-lm lets every layer see all, at plain positions.
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, qkvo, readSizes, rms, sameWindows, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mixture } from "./mixture.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadMixtral(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-5);
  const count = reader.dimension("num_local_experts");
  const asked = reader.dimension("num_experts_per_tok");
  const windows = sameWindows(reader);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: head_dim, base: 1_000_000 }, weights.file));
    const norm = (name: string) => rms(weights, name, hidden_size, epsilon);
    const experts = (prefix: string, whole: string, each: string, rows: number, columns: number) =>
      weights.experts(
        { whole: `${prefix}.switch_mlp.${whole}`, each: (expert) => `${prefix}.experts.${expert}.${each}` },
        ...([count, rows, columns, false] as const),
      );
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: false, o: false }),
            ...{ layer, rope, heads, kv_heads, head_dim, window: windows[layer] ?? undefined },
            norm: norm(`${prefix}.input_layernorm`),
            scale: head_dim ** -0.5,
          }),
          mixture({
            norm: norm(`${prefix}.post_attention_layernorm`),
            router: weights.linear(`${prefix}.block_sparse_moe.gate`, count, hidden_size, false),
            gate: experts(`${prefix}.block_sparse_moe`, "gate_proj", "w1", inner_size, hidden_size),
            up: experts(`${prefix}.block_sparse_moe`, "up_proj", "w3", inner_size, hidden_size),
            down: experts(`${prefix}.block_sparse_moe`, "down_proj", "w2", hidden_size, inner_size),
            asked,
            shares: "softmax_asked",
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
    };
  });
}
