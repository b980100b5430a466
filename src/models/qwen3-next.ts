/**
 * Qwen3-Next: gated delta nets, gated attention in every fourth layer, a mixture of experts with one that every token asks;
 * `model_type` "qwen3_next". The heads that guess tokens ahead (mtp) are not read.
 */

import { assert } from "../core/assert.ts";
import { type Attention, attention } from "./attention.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { TAPS_MAX } from "./convolution.ts";
import { blocksOf, decoder, gateUpDown, readSizes, rms, type Sizes, sequential } from "./decoder.ts";
import { deltaNet } from "./delta-net.ts";
import { KEY_DIM_MAX } from "./delta-rule.ts";
import type { Kept, Model, StateShape } from "./family.ts";
import type { Linear, Norm } from "./layers.ts";
import { mixture } from "./mixture.ts";
import { mlp } from "./mlp.ts";
import { mixingLayers, mixtureReader } from "./qwen-mixture.ts";
import { type Rope, readRope, rotaryDims } from "./rope.ts";
import { inTurns, type Weights } from "./weights.ts";

export function loadQwen3Next(config: ModelConfig, weights: Weights): Model {
  const reader = new ConfigReader(config, weights.file);
  const sizes = readSizes(reader, { head_dim: 256 });
  const { hidden_size, head_dim } = sizes;
  const attends = attendingLayers(reader);
  const { state_shapes } = qwen3NextKeeps(reader);
  const before = (layer: number, kind: boolean) => attends.slice(0, layer).filter((each) => each === kind).length;
  const delta = readDelta(reader);
  const mixes = mixingLayers(reader, sizes);
  const readMixture = mixtureReader(reader, weights, hidden_size);
  const shared_size = reader.dimension("shared_expert_intermediate_size");
  const norm = norms(reader, weights, mixes);
  reader.only("hidden_act", "silu");
  reader.only("attention_bias", false);
  reader.only("use_sliding_window", false);

  return decoder(weights, sizes, (own) => {
    const dims = rotaryDims(config, head_dim, weights.file, 0.25);
    const rope = own.use(readRope(config, { dims }, weights.file));
    const shared = (prefix: string) => ({
      ...gateUpDown(weights, `${prefix}.shared_expert`, hidden_size, shared_size),
      share: weights.linear(`${prefix}.shared_expert_gate`, 1, hidden_size, false),
    });
    return {
      blocks: blocksOf(sizes, (layer, prefix) => {
        const first = norm(`${prefix}.input_layernorm`, hidden_size);
        const second = norm(`${prefix}.post_attention_layernorm`, hidden_size);
        return sequential(
          own,
          attends[layer]
            ? readAttention(weights, prefix, sizes, { layer: before(layer, true), rope, first, norm })
            : readDeltaNet(weights, prefix, sizes, delta, {
                number: before(layer, false),
                first,
                epsilon: second.epsilon,
              }),
          mixes[layer]
            ? mixture({ ...readMixture(`${prefix}.mlp`), norm: second, shared: shared(`${prefix}.mlp`) })
            : mlp({
                ...gateUpDown(weights, `${prefix}.mlp`, hidden_size, reader.dimension("intermediate_size")),
                norm: second,
                activation: "silu",
              }),
        );
      }),
      norm: norm("model.norm", hidden_size),
      positions_max: rope.positions_max,
      attention_layers: before(sizes.layers, true),
      state_shapes,
    };
  });
}

export function qwen3NextKeeps(reader: ConfigReader): Kept {
  const attends = attendingLayers(reader);
  const delta = readDelta(reader);
  return {
    windows: attends.filter(Boolean).map(() => null),
    state_shapes: attends.flatMap((each) => (each ? [] : statesOf(delta))),
  };
}

type ReadNorm = (name: string, size: number) => Norm;

interface DeltaSizes {
  readonly key_heads: number;
  readonly heads: number;
  readonly key_dim: number;
  readonly value_dim: number;
  readonly taps: number;
}

function attendingLayers(reader: ConfigReader): boolean[] {
  const layers = reader.dimension("num_hidden_layers");
  const every = reader.dimensionOr("full_attention_interval", 4);
  const types = reader.wordsOr("layer_types", layers, ["full_attention", "linear_attention"]);
  return Array.from({ length: layers }, (_, layer) =>
    types === null ? (layer + 1) % every === 0 : types[layer] === "full_attention",
  );
}

function readDelta(reader: ConfigReader): DeltaSizes {
  const key_heads = reader.dimension("linear_num_key_heads");
  const group = reader.dimension("linear_num_value_heads") / key_heads;
  reader.only("linear_num_value_heads", key_heads * Math.ceil(group)); // heads of values divide among those of keys
  return {
    key_heads,
    heads: key_heads * group,
    key_dim: reader.dimensionWithin("linear_key_head_dim", 1, KEY_DIM_MAX),
    value_dim: reader.dimension("linear_value_head_dim"),
    taps: reader.dimensionWithin("linear_conv_kernel_dim", 2, TAPS_MAX, 4),
  };
}

function statesOf(delta: DeltaSizes): StateShape[] {
  const { heads, key_dim, value_dim, taps } = delta;
  return [
    [taps - 1, channelsOf(delta)],
    [heads, key_dim, value_dim],
  ];
}

function channelsOf({ key_heads, heads, key_dim, value_dim }: DeltaSizes): number {
  return 2 * key_heads * key_dim + heads * value_dim;
}

/** As published the norms lack the 1 that is added to their weights, and experts are tensors of their own; MLX's files have both. */
function norms(reader: ConfigReader, weights: Weights, mixes: readonly boolean[]): ReadNorm {
  const epsilon = reader.numberOr("rms_norm_eps", 1e-6);
  const more = weights.has(`model.layers.${mixes.indexOf(true)}.mlp.experts.0.up_proj.weight`) ? 1 : 0;
  return (name, size) => rms(weights, name, size, epsilon, more);
}

function readAttention(
  weights: Weights,
  prefix: string,
  { heads, kv_heads, head_dim, hidden_size }: Sizes,
  { layer, rope, first, norm }: { layer: number; rope: Rope; first: Norm; norm: ReadNorm },
): Attention {
  const at = `${prefix}.self_attn`;
  const width = heads * head_dim;
  // of each head its queries, then its gate
  const turns = inTurns(heads, [head_dim, head_dim]);
  const [q, gate] = weights.picked(`${at}.q_proj`, 2 * width, hidden_size, turns);
  assert(q !== undefined && gate !== undefined, "as many parts as were asked for");
  return attention({
    ...{ layer, rope, heads, kv_heads, head_dim, q, gate },
    k: weights.linear(`${at}.k_proj`, kv_heads * head_dim, hidden_size, false),
    v: weights.linear(`${at}.v_proj`, kv_heads * head_dim, hidden_size, false),
    o: weights.linear(`${at}.o_proj`, hidden_size, width, false),
    norm: first,
    q_norm: norm(`${at}.q_norm`, head_dim),
    k_norm: norm(`${at}.k_norm`, head_dim),
    scale: head_dim ** -0.5,
  });
}

function readDeltaNet(
  weights: Weights,
  prefix: string,
  { hidden_size }: Sizes,
  delta: DeltaSizes,
  { number, first, epsilon }: { number: number; first: Norm; epsilon: number },
): Attention {
  const at = `${prefix}.linear_attn`;
  const { key_heads, heads, key_dim, value_dim, taps } = delta;
  const [b = [], a = []] = inTurns(key_heads, [heads / key_heads, heads / key_heads]);
  const { qkv, gate } = readProjections(weights, at, hidden_size, delta);
  const [rate, decay] = weights.picked(`${at}.in_proj_ba`, 2 * heads, hidden_size, [b, a]);
  assert(rate !== undefined && decay !== undefined, "as many parts as were asked for");
  return deltaNet({
    ...{ key_heads, heads, key_dim, value_dim, qkv, gate, rate, decay, norm: first },
    convolution: { taps: weights.taps(`${at}.conv1d`, channelsOf(delta), taps), bias: null, state: 2 * number },
    decay_log: weights.vector(`${at}.A_log`, heads),
    decay_bias: weights.vector(`${at}.dt_bias`, heads),
    out_norm: rms(weights, `${at}.norm`, value_dim, epsilon),
    out: weights.linear(`${at}.out_proj`, hidden_size, heads * value_dim, false),
    state: 2 * number + 1,
  });
}

/** Queries, keys and values, and what gates what comes out: taken apart already, as GGUF files have them, or in one matrix. */
function readProjections(
  weights: Weights,
  at: string,
  hidden_size: number,
  delta: DeltaSizes,
): { qkv: Linear; gate: Linear } {
  const { key_heads, heads, key_dim, value_dim } = delta;
  if (weights.has(`${at}.in_proj_qkv.weight`)) {
    return {
      qkv: weights.linear(`${at}.in_proj_qkv`, channelsOf(delta), hidden_size, false),
      gate: weights.linear(`${at}.in_proj_z`, heads * value_dim, hidden_size, false),
    };
  }
  // of each key head its queries, its keys, and the values and gates of its heads
  const width = (heads / key_heads) * value_dim;
  const [q = [], k = [], v = [], z = []] = inTurns(key_heads, [key_dim, key_dim, width, width]);
  const [qkv, gate] = weights.picked(`${at}.in_proj_qkvz`, 2 * key_heads * (key_dim + width), hidden_size, [
    [...q, ...k, ...v],
    z,
  ]);
  assert(qkv !== undefined && gate !== undefined, "as many parts as were asked for");
  return { qkv, gate };
}
