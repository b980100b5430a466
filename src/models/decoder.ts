/** What all families have around and within their blocks, as functions: tables, projections by their usual names, norms. Knows no family. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { MlxArray } from "../mlx/array.ts";
import type { Attention } from "./attention.ts";
import type { ConfigReader } from "./config.ts";
import type { Model, StateShape, Windows } from "./family.ts";
import { type Adaptable, type Linear, type Norm, normalize, softCap, times } from "./layers.ts";
import type { Mlp } from "./mlp.ts";
import { projection } from "./projection.ts";
import type { Step } from "./step.ts";
import type { Weights } from "./weights.ts";

export interface Sizes {
  readonly hidden_size: number;
  readonly layers: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  readonly vocabulary_size: number;
  readonly context_length: number;
  /** null: tied when the file has no head of its own. */
  readonly tied: boolean | null;
}

type Otherwise = Partial<Pick<Sizes, "head_dim" | "context_length">> & {
  /** Whatever the config says of it, a head is there where the file has one. */
  readonly head?: "as the file has it";
};

/** One layer of the model: hidden states to hidden states of the same shape. */
export interface Block {
  readonly adaptable: readonly Adaptable[];
  /** How many positions it sees; all where absent. */
  readonly window?: number | undefined;
  apply(hidden: MlxArray, step: Step): MlxArray;
}

export interface DecoderParts {
  readonly blocks: readonly Block[];
  /** How many layers have keys and values, where not all do. */
  readonly attention_layers?: number | undefined;
  /** What the other layers keep of a sequence. */
  readonly state_shapes?: readonly StateShape[] | undefined;
  readonly norm: Norm;
  /** Beyond as many positions the family would have to compute otherwise. */
  readonly positions_max?: number | undefined;
  readonly embedding_factor?: number | undefined;
  readonly logit_factor?: number | undefined;
  readonly logit_cap?: number | undefined;
}

/** `build` makes the blocks; what it gives to `own` goes with the model. */
export function decoder(weights: Weights, sizes: Sizes, build: (own: DisposableStack) => DecoderParts): Model {
  using stack = new DisposableStack();
  stack.use(weights);
  const { vocabulary_size, hidden_size, kv_heads, head_dim } = sizes;
  const table = (name: string) =>
    stack.use(projection(weights.linear(name, vocabulary_size, hidden_size, false), hidden_size));
  const embedding = table("model.embed_tokens");
  const parts = build(stack);
  const { embedding_factor = 1, logit_factor = 1, logit_cap, positions_max } = parts;
  const tied = sizes.tied ?? !weights.has("lm_head.weight");
  const head = tied ? embedding : table("lm_head");
  const owned = stack.move();
  const windows = parts.blocks.map(({ window }) => window ?? null);

  return {
    cache_shape: { layers: parts.attention_layers ?? sizes.layers, kv_heads, head_dim, windows },
    state_shapes: parts.state_shapes ?? [],
    context_length: Math.min(sizes.context_length, positions_max ?? Number.POSITIVE_INFINITY),
    vocabulary_size,
    bytes_resident: weights.bytes_resident,
    adaptable: parts.blocks.flatMap(({ adaptable }) => adaptable),
    forward(token_ids, step) {
      let hidden = factored(embedding.rows(token_ids), embedding_factor);
      for (const block of parts.blocks) {
        using before = hidden;
        hidden = block.apply(before, step);
      }
      return hidden;
    },
    normed: (hidden) => normalize(hidden, parts.norm),
    logits(hidden) {
      using normed = this.normed(hidden);
      const logits = factored(head.apply(normed), logit_factor);
      if (logit_cap === undefined) return logits;
      using uncapped = logits;
      return softCap(uncapped, logit_cap);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Attention or what a layer has in its place, then the feed-forward layer over its result: each with norms and residual of its own. */
export function sequential(own: DisposableStack, attention: Attention, mlp: Mlp): Block {
  own.use(attention);
  own.use(mlp);
  return {
    adaptable: [...attention.adaptable, ...mlp.adaptable],
    window: attention.window,
    apply(hidden, step) {
      using attended = attention.apply(hidden, step);
      return mlp.apply(attended, step);
    },
  };
}

/** Attention and the feed-forward layer over the same normed states, both added to what came. */
export function parallel(own: DisposableStack, norm: Norm, attention: Attention, mlp: Mlp): Block {
  own.use(attention);
  own.use(mlp);
  return {
    adaptable: [...attention.adaptable, ...mlp.adaptable],
    window: attention.window,
    apply(hidden, step) {
      using normed = normalize(hidden, norm);
      using attended = attention.apply(normed, step, hidden);
      return mlp.apply(normed, step, attended);
    },
  };
}

/** `build` for every layer in turn. */
export function blocksOf({ layers }: Sizes, build: (layer: number, prefix: string) => Block): Block[] {
  return Array.from({ length: layers }, (_, layer) => build(layer, `model.layers.${layer}`));
}

/** What every config calls by the same names; `head_dim` where it is not the hidden size over the heads. */
/** Where neither the config nor the family says another. */
export const CONTEXT_LENGTH = 2048;

export function readSizes(reader: ConfigReader, otherwise: Otherwise = {}): Sizes {
  const hidden_size = reader.dimension("hidden_size");
  // each token in sight of those behind it, as some that only read have it
  reader.only("is_causal", true);
  reader.only("use_bidirectional_attention", false);
  const heads = reader.dimension("num_attention_heads");
  const kv_heads = reader.dimensionOr("num_key_value_heads", heads);
  if (heads % kv_heads !== 0) {
    const state = `${heads} attention heads do not divide among ${kv_heads} key heads`;
    throw new Failure("unsupported", `Cannot load ${reader.file}: ${state}`);
  }
  const head_dim = reader.dimensionOr("head_dim", otherwise.head_dim ?? Math.floor(hidden_size / heads));
  if (head_dim % 2 !== 0) {
    const state = `head_dim must be even to rotate in pairs, found ${head_dim}`;
    throw new Failure("unsupported", `Cannot load ${reader.file}: ${state}`);
  }
  return {
    hidden_size,
    heads,
    kv_heads,
    head_dim,
    layers: reader.dimension("num_hidden_layers"),
    vocabulary_size: reader.dimension("vocab_size"),
    context_length: reader.dimensionOr("max_position_embeddings", otherwise.context_length ?? CONTEXT_LENGTH),
    tied: otherwise.head === undefined ? reader.booleanOr("tie_word_embeddings", null) : null,
  };
}

/** Which layers see a window only: as `layer_types` says, else as the family has it. */
export function slidingLayers(reader: ConfigReader, otherwise: (layer: number) => boolean): boolean[] {
  const layers = reader.dimension("num_hidden_layers");
  const types = reader.wordsOr("layer_types", layers, ["full_attention", "sliding_attention"]);
  return Array.from({ length: layers }, (_, layer) =>
    types === null ? otherwise(layer) : types[layer] === "sliding_attention",
  );
}

/** The window of those that slide, if there is one. */
export function windowsOf(sliding: readonly boolean[], window: number | undefined): Windows {
  return sliding.map((slides) => (slides ? (window ?? null) : null));
}

/** Every layer sees the same window, if there is one. */
export function sameWindows(reader: ConfigReader): Windows {
  return new Array(reader.dimension("num_hidden_layers")).fill(reader.optionalDimension("sliding_window") ?? null);
}

/** A root-mean-square norm; `more` is added to the weight as the file has it. */
export function rms(weights: Weights, name: string, size: number, epsilon: number, more = 0): Norm {
  return { kind: "rms", weight: weights.vector(`${name}.weight`, size, more), bias: null, epsilon };
}

/** A norm by mean and variance. */
export function layerNorm(weights: Weights, name: string, size: number, epsilon: number, bias: boolean): Norm {
  const weight = weights.vector(`${name}.weight`, size);
  return { kind: "layer", weight, bias: bias ? weights.vector(`${name}.bias`, size) : null, epsilon };
}

/** The projections of attention, each a matrix of its own. */
export function qkvo(
  weights: Weights,
  prefix: string,
  { heads, kv_heads, head_dim, hidden_size }: Sizes,
  bias: { readonly qkv: boolean; readonly o: boolean },
): { q: Linear; k: Linear; v: Linear; o: Linear } {
  return {
    q: weights.linear(`${prefix}.self_attn.q_proj`, heads * head_dim, hidden_size, bias.qkv),
    k: weights.linear(`${prefix}.self_attn.k_proj`, kv_heads * head_dim, hidden_size, bias.qkv),
    v: weights.linear(`${prefix}.self_attn.v_proj`, kv_heads * head_dim, hidden_size, bias.qkv),
    o: weights.linear(`${prefix}.self_attn.o_proj`, hidden_size, heads * head_dim, bias.o),
  };
}

/** The projections of a gated feed-forward layer under `prefix`, each a matrix of its own. */
export function gateUpDown(
  weights: Weights,
  prefix: string,
  hidden_size: number,
  inner_size: number,
  bias = false,
): { gate: Linear; up: Linear; down: Linear } {
  return {
    gate: weights.linear(`${prefix}.gate_proj`, inner_size, hidden_size, bias),
    up: weights.linear(`${prefix}.up_proj`, inner_size, hidden_size, bias),
    down: weights.linear(`${prefix}.down_proj`, hidden_size, inner_size, bias),
  };
}

/** The same where gate and up are one matrix. */
export function packedGateUpDown(
  weights: Weights,
  prefix: string,
  hidden_size: number,
  inner_size: number,
): { gate: Linear; up: Linear; down: Linear } {
  const [gate, up] = weights.linears(`${prefix}.gate_up_proj`, [inner_size, inner_size], hidden_size, false);
  assert(gate !== undefined && up !== undefined, "as many parts as were asked for");
  return { gate, up, down: weights.linear(`${prefix}.down_proj`, hidden_size, inner_size, false) };
}

/** The root of the hidden size, by which Gemma multiplies its embeddings; rounded where its weights were. */
export function embeddingRoot(reader: ConfigReader, hidden_size: number): number {
  const is_rounded = reader.stringOr("torch_dtype", reader.stringOr("dtype", "")) === "bfloat16";
  return is_rounded ? toBfloat16(Math.sqrt(hidden_size)) : Math.sqrt(hidden_size);
}

export function toBfloat16(value: number): number {
  const [bits = 0] = new Uint32Array(Float32Array.of(value).buffer);
  const half = 0x7fff + ((bits >>> 16) & 1); // to the nearest, ties to even
  const [rounded = value] = new Float32Array(Uint32Array.of((bits + half) & 0xffff0000).buffer);
  return rounded;
}

/** `x` times `factor`, in place of `x`. */
function factored(x: MlxArray, factor: number): MlxArray {
  if (factor === 1) return x;
  using given = x;
  return times(given, factor);
}
