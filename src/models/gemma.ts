/**
 * Gemma: embeddings times the root of their size, norms that hold w of 1 + w, GELU gates; `model_type` "gemma".
 * GELU by its tanh formula, as the weights were trained and transformers computes; mlx-lm takes the error function.
 */

import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, embeddingRoot, gateUpDown, qkvo, readSizes, rms, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mlp } from "./mlp.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadGemma(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head_dim: 256, head: "as the file has it" });
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const bias = reader.flag("attention_bias");
  reader.only("hidden_activation", "gelu_pytorch_tanh");

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: sizes.head_dim }, weights.file));
    const norm = (name: string) => rms(weights, name, sizes.hidden_size, epsilon, 1);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope, heads: sizes.heads, kv_heads: sizes.kv_heads, head_dim: sizes.head_dim },
            norm: norm(`${prefix}.input_layernorm`),
            scale: sizes.head_dim ** -0.5,
          }),
          mlp({
            ...gateUpDown(weights, `${prefix}.mlp`, sizes.hidden_size, inner_size),
            norm: norm(`${prefix}.post_attention_layernorm`),
            activation: "gelu_tanh",
          }),
        ),
      ),
      norm: norm("model.norm"),
      positions_max: rope.positions_max,
      embedding_factor: embeddingRoot(reader, sizes.hidden_size),
    };
  });
}
