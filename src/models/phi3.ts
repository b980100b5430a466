/**
 * Phi-3, Phi-3.5 and Phi-4: llama's blocks with packed projections; part of a head may turn; `model_type` "phi3".
 * As in transformers the window counts, and longrope turns short sequences by its short factors; mlx-lm sees all and
 * takes the long factors always. Sequences that would need those are beyond the context here.
 */

import { assert } from "../core/assert.ts";
import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, packedGateUpDown, readSizes, rms, type Sizes, sameWindows, sequential } from "./decoder.ts";
import type { Model } from "./family.ts";
import { mlp } from "./mlp.ts";
import { readRope, rotaryDims } from "./rope.ts";
import type { Weights } from "./weights.ts";

/** As transformers and mlx-lm have it. */
export const PHI3_ORIGINAL = 4096;
const ORIGINAL = { original_max_position_embeddings: PHI3_ORIGINAL };

export function loadPhi3(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader);
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-5);
  const windows = sameWindows(reader);
  const dims = rotaryDims(config, head_dim, weights.file);
  reader.only("hidden_act", "silu");
  reader.only("attention_bias", false);

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope({ ...ORIGINAL, ...config }, { dims }, weights.file));
    const norm = (name: string) => rms(weights, name, hidden_size, epsilon);
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...packedQkv(weights, prefix, sizes),
            ...{ layer, rope, heads, kv_heads, head_dim, window: windows[layer] ?? undefined },
            norm: norm(`${prefix}.input_layernorm`),
            scale: head_dim ** -0.5,
          }),
          mlp({
            ...packedGateUpDown(weights, `${prefix}.mlp`, hidden_size, inner_size),
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

function packedQkv(weights: Weights, prefix: string, { heads, kv_heads, head_dim, hidden_size }: Sizes) {
  const rows = [heads, kv_heads, kv_heads].map((count) => count * head_dim);
  const [q, k, v] = weights.linears(`${prefix}.self_attn.qkv_proj`, rows, hidden_size, false);
  assert(q !== undefined && k !== undefined && v !== undefined, "as many parts as were asked for");
  return { q, k, v, o: weights.linear(`${prefix}.self_attn.o_proj`, hidden_size, heads * head_dim, false) };
}
