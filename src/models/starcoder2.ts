/**
 * StarCoder2: llama's attention with biases, norms by mean and variance, a feed-forward layer without gate;
 * `model_type` "starcoder2". As in transformers GELU goes by its tanh formula and the window counts; mlx-lm takes the
 * error function and sees all.
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, layerNorm, qkvo, readSizes, sameWindows, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadStarcoder2(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("norm_epsilon", 1e-5);
  const bias = reader.booleanOr("use_bias", true) === true;
  const windows = sameWindows(reader);
  reader.only("hidden_act", "gelu_pytorch_tanh");
  reader.only("norm_type", "layer_norm");
  reader.only("mlp_type", "default");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: head_dim, base: 100_000 }, weights.file));
    const norm = (name: string) => layerNorm(weights, name, hidden_size, epsilon, true);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope, heads, kv_heads, head_dim, window: windows[layer] ?? undefined },
            norm: norm(`${prefix}.input_layernorm`),
            scale: head_dim ** -0.5,
          }),
          mlp({
            up: weights.linear(`${prefix}.mlp.c_fc`, inner_size, hidden_size, bias),
            down: weights.linear(`${prefix}.mlp.c_proj`, hidden_size, inner_size, bias),
            norm: norm(`${prefix}.post_attention_layernorm`),
            activation: "gelu_tanh",
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
    };
  });
}
