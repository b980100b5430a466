/**
 * gpt-oss: scores that share the softmax with a sink of each head, a window in every other layer, and a mixture of
 * experts whose gates are clipped; `model_type` "gpt_oss". Read in mlx-lm's layout, and in OpenAI's, where the rows of
 * gate and up take turns. mlx-lm's yarn ignores `truncate`, which counts here as in transformers.
 */

import { type Dtype, type MlxArray, scalar } from "../mlx/array.ts";
import { astype, maximum, minimum, multiply, sigmoid } from "../mlx/ops.ts";
import { attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { blocksOf, decoder, qkvo, readSizes, rms, sequential, slidingLayers, windowsOf } from "./decoder.ts";
import type { Model, Windows } from "./family.ts";
import { plus, times } from "./layers.ts";
import { mixture } from "./mixture.ts";
import { readRope } from "./rope.ts";
import type { Weights } from "./weights.ts";

export function loadGptOss(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head_dim: 64, head: "as the file has it" });
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const inner_size = reader.dimension("intermediate_size");
  const epsilon = reader.numberOr("rms_norm_eps", 1e-5);
  const bias = reader.booleanOr("attention_bias", true) === true;
  const count = reader.dimension("num_local_experts");
  const asked = reader.dimension("num_experts_per_tok");
  const limit = reader.numberOr("swiglu_limit", 7);
  const windows = gptOssWindows(reader);
  reader.only("hidden_act", "silu");
  reader.only("swiglu_alpha", 1.702);

  return decoder(weights, sizes, (own) => {
    const rope = own.use(readRope(config, { dims: head_dim, base: 150_000 }, weights.file));
    const norm = (name: string) => rms(weights, name, hidden_size, epsilon);
    const experts = (at: string, own: string, stored: string, first: number, rows: number, columns: number) => {
      const [whole, step] = [`${at}.${own}`, own === stored ? 1 : 2];
      const names = { whole, each: (expert: number) => `${whole}.${expert}` };
      const blocks = { name: `${at}.${stored}`, first, step };
      return weights.experts({ ...names, blocks }, count, rows, columns, true);
    };
    return {
      blocks: blocksOf(sizes, (layer, prefix) =>
        sequential(
          own,
          attention({
            ...qkvo(weights, prefix, sizes, { qkv: bias, o: bias }),
            ...{ layer, rope, heads, kv_heads, head_dim },
            norm: norm(`${prefix}.input_layernorm`),
            sinks: weights.vector(`${prefix}.self_attn.sinks`, heads),
            scale: head_dim ** -0.5,
            window: windows[layer] ?? undefined,
          }),
          mixture({
            norm: norm(`${prefix}.post_attention_layernorm`),
            router: weights.linear(`${prefix}.mlp.router`, count, hidden_size, true),
            gate: experts(`${prefix}.mlp.experts`, "gate_proj", "gate_up_proj", 0, inner_size, hidden_size),
            up: experts(`${prefix}.mlp.experts`, "up_proj", "gate_up_proj", 1, inner_size, hidden_size),
            down: experts(`${prefix}.mlp.experts`, "down_proj", "down_proj", 0, hidden_size, inner_size),
            activate: (gate, up) => clippedSwiglu(gate, up, limit),
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

export function gptOssWindows(reader: ConfigReader): Windows {
  const sliding = slidingLayers(reader, (layer) => layer % 2 === 0);
  return windowsOf(sliding, reader.dimension("sliding_window"));
}

/** g · sigmoid(1.702 g) · (u + 1), with g at most `limit` and u at most as far from 0. */
function clippedSwiglu(gate: MlxArray, up: MlxArray, limit: number): MlxArray {
  using most = fullOf(limit, gate.dtype);
  using least = fullOf(-limit, gate.dtype);
  using low = minimum(gate, most);
  using below = minimum(up, most);
  using within = maximum(below, least);
  using steep = times(low, 1.702);
  using squashed = sigmoid(steep);
  using opened = multiply(low, squashed);
  using raised = plus(within, 1);
  return multiply(opened, raised);
}

function fullOf(value: number, dtype: Dtype): MlxArray {
  using number = scalar(value);
  return astype(number, dtype);
}
