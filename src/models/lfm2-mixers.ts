/** What LFM2's layers begin with as its configs and files name it: attention or a short convolution. Knows no feed-forward layer. */

import { Failure } from "../core/failure.ts";
import { type Attention, attention } from "./attention.ts";
import type { ConfigReader } from "./config.ts";
import { TAPS_MAX } from "./convolution.ts";
import { rms, type Sizes } from "./decoder.ts";
import type { Kept, StateShape } from "./family.ts";
import type { Rope } from "./rope.ts";
import { shortConvolution } from "./short-convolution.ts";
import type { Weights } from "./weights.ts";

export interface Lfm2Mixers {
  readonly attention_layers: number;
  readonly state_shapes: readonly StateShape[];
  readMixer(layer: number, prefix: string, rope: Rope): Attention;
}

/** Reads the config once; `readMixer` reads those of one layer. */
export function mixerReader(reader: ConfigReader, weights: Weights, sizes: Sizes): Lfm2Mixers {
  const { hidden_size, heads, kv_heads, head_dim } = sizes;
  const epsilon = reader.numberOr("norm_eps", 1e-5);
  const bias = reader.flag("conv_bias");
  const taps = tapsOf(reader);
  for (const name of ["conv_dim", "conv_dim_out"]) reader.only(name, hidden_size);
  const attends = attendingLayers(reader);
  const before = (layer: number, kind: boolean) => attends.slice(0, layer).filter((each) => each === kind).length;
  const convolutions = before(sizes.layers, false);

  const readAttention = (layer: number, prefix: string, rope: Rope): Attention => {
    const projection = (name: string, rows: number, columns: number) =>
      weights.linear(`${prefix}.self_attn.${name}`, rows, columns, false);
    return attention({
      ...{ layer: before(layer, true), rope, heads, kv_heads, head_dim },
      q: projection("q_proj", heads * head_dim, hidden_size),
      k: projection("k_proj", kv_heads * head_dim, hidden_size),
      v: projection("v_proj", kv_heads * head_dim, hidden_size),
      o: projection("out_proj", hidden_size, heads * head_dim),
      norm: rms(weights, `${prefix}.operator_norm`, hidden_size, epsilon),
      q_norm: rms(weights, `${prefix}.self_attn.q_layernorm`, head_dim, epsilon),
      k_norm: rms(weights, `${prefix}.self_attn.k_layernorm`, head_dim, epsilon),
      scale: head_dim ** -0.5,
    });
  };
  const readConvolution = (layer: number, prefix: string): Attention =>
    shortConvolution({
      norm: rms(weights, `${prefix}.operator_norm`, hidden_size, epsilon),
      into: weights.linear(`${prefix}.conv.in_proj`, 3 * hidden_size, hidden_size, bias),
      convolution: {
        taps: weights.taps(`${prefix}.conv.conv`, hidden_size, taps),
        bias: bias ? weights.vector(`${prefix}.conv.conv.bias`, hidden_size) : null,
        state: before(layer, false),
      },
      out: weights.linear(`${prefix}.conv.out_proj`, hidden_size, hidden_size, bias),
    });
  return {
    attention_layers: sizes.layers - convolutions,
    state_shapes: lfm2Keeps(reader).state_shapes,
    readMixer: (layer, prefix, rope) =>
      attends[layer] ? readAttention(layer, prefix, rope) : readConvolution(layer, prefix),
  };
}

export function lfm2Keeps(reader: ConfigReader): Kept {
  const attends = attendingLayers(reader);
  const state = [tapsOf(reader) - 1, reader.dimension("hidden_size")];
  return {
    windows: attends.filter(Boolean).map(() => null),
    state_shapes: attends.filter((each) => !each).map(() => state),
  };
}

function tapsOf(reader: ConfigReader): number {
  return reader.dimensionWithin("conv_L_cache", 2, TAPS_MAX, 3);
}

/** Which layers attend; the others convolve. */
function attendingLayers(reader: ConfigReader): boolean[] {
  const layers = reader.dimension("num_hidden_layers");
  const types = reader.wordsOr("layer_types", layers, ["full_attention", "conv"]);
  const numbers = reader.numbersOr("full_attn_idxs");
  if (types === null && numbers === null) {
    const state = "neither layer_types nor full_attn_idxs says which layers attend";
    throw new Failure("unsupported", `Cannot load ${reader.file}: ${state}`);
  }
  return Array.from({ length: layers }, (_, layer) =>
    numbers === null ? types?.[layer] === "full_attention" : numbers.includes(layer),
  );
}
