/**
 * Qwen1.5-MoE and Qwen2-MoE: Qwen2's attention, a mixture of experts and one that every token asks; `model_type`
 * "qwen2_moe". Windows, dense layers, `norm_topk_prob` and the scalings of positions count as in transformers; mlx-lm
 * knows none of them.
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, gateUpDown, qkvo, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mixture } from "./mixture.ts";
import { mlp } from "./mlp.ts";
import { mixingLayers, mixtureReader } from "./qwen-mixture.ts";
import { qwen2Windows } from "./qwen2.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadQwen2Moe(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head: "as the file has it" });
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const bias = reader.booleanOr("qkv_bias", true) === true;
  const windows = qwen2Windows(reader);
  const shared_size = reader.dimension("shared_expert_intermediate_size");
  const mixes = mixingLayers(reader, sizes);
  const readMixture = mixtureReader(reader, weights, hidden_size);
  reader.only("hidden_act", "silu");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: head_dim, base: 1_000_000 }, weights.file));
    const norm = (name: string) => rms(weights, name, hidden_size, epsilon);
    const shared = (prefix: string) => ({
      ...gateUpDown(weights, `${prefix}.shared_expert`, hidden_size, shared_size),
      share: weights.linear(`${prefix}.shared_expert_gate`, 1, hidden_size, false),
    });
    return {
      blocks: blocksOf(sizes, (layer, prefix) => {
        const before = norm(`${prefix}.post_attention_layernorm`);
        return sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: false }),
            ...{ layer, rope, heads, kv_heads, head_dim },
            norm: norm(`${prefix}.input_layernorm`),
            scale: head_dim ** -0.5,
            window: windows[layer] ?? undefined,
          }),
          mixes[layer]
            ? mixture({ ...readMixture(`${prefix}.mlp`), norm: before, shared: shared(`${prefix}.mlp`) })
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
