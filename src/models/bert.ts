/**
 * The BERT family: BERT (MiniLM, BGE, E5 and others), RoBERTa and XLM-RoBERTa; `model_type` "bert", "roberta", "xlm-roberta".
 * Post-norm blocks, attention both ways, learned positions, GELU by the error function. Texts lie in a rectangle, filled up.
 */

import type { EncoderText } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import { evaluate, fromBytes, type MlxArray } from "../mlx/array.ts";
import { attend, layerNorm } from "../mlx/fast.ts";
import { add, reshape, tanh, transpose } from "../mlx/ops.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import type { Encoder } from "./family.ts";
import { gelu } from "./layers.ts";
import { type Projection, projection } from "./projection.ts";
import type { Weights } from "./weights.ts";

interface Arguments {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly layers: number;
  readonly heads: number;
  readonly vocabulary_size: number;
  readonly types: number;
  readonly positions: number;
  /** Where a text's positions begin: RoBERTa keeps those up to its filling token's number for other things. */
  readonly first_position: number;
  readonly norm_epsilon: number;
}

interface Norm {
  readonly weight: MlxArray;
  readonly bias: MlxArray;
}

interface Block {
  readonly q: Projection;
  readonly k: Projection;
  readonly v: Projection;
  readonly o: Projection;
  readonly attention_norm: Norm;
  readonly up: Projection;
  readonly down: Projection;
  readonly norm: Norm;
}

/** The texts of one pass. */
interface Rectangle {
  readonly texts: number;
  readonly length: number;
  readonly token_ids: MlxArray;
  readonly positions: MlxArray;
  readonly types: MlxArray;
  /** (texts, 1, 1, length), or "none" where no text is filled up. */
  readonly seen: MlxArray | "none";
}

/** Tables of vectors by number, and what becomes of their sum. */
interface Embedding {
  readonly tokens: Projection;
  readonly positions: Projection;
  readonly types: Projection;
  readonly norm: Norm;
}

export function loadBert(config: ModelConfig, weights: Weights): Encoder {
  const args = readArguments(config, weights.file);
  using stack = new DisposableStack();
  stack.use(weights);
  const parts = new Parts(weights, args.hidden_size, stack);
  const embedding = loadEmbedding(parts, args);
  const blocks = Array.from({ length: args.layers }, (_, layer) => loadBlock(parts, args, layer));
  const classify = loadClassifier(parts, args);
  const owned = stack.move();

  return {
    hidden_size: args.hidden_size,
    context_length: args.positions - args.first_position,
    vocabulary_size: args.vocabulary_size,
    bytes_resident: weights.bytes_resident,
    *forward(texts) {
      using arrays = new DisposableStack();
      const rectangle = lay(texts, args.first_position, arrays);
      let hidden = embed(rectangle, embedding, args.norm_epsilon);
      try {
        for (const block of blocks) {
          using before = hidden;
          hidden = apply(before, block, rectangle, args);
          evaluate(hidden);
          yield;
        }
        return reshape(hidden, [texts.length, rectangle.length, args.hidden_size]);
      } finally {
        hidden[Symbol.dispose]();
      }
    },
    classify,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function readArguments(config: ModelConfig, file: string): Arguments {
  const reader = new ConfigReader(config, file);
  const hidden_size = reader.dimension("hidden_size");
  const heads = reader.dimension("num_attention_heads");
  if (hidden_size % heads !== 0) {
    const state = `${hidden_size} hidden dimensions do not divide among ${heads} heads`;
    throw new Failure("unsupported", `Cannot load ${file}: ${state}`);
  }
  only(reader, "hidden_act", "gelu", file);
  only(reader, "position_embedding_type", "absolute", file);
  const first_position = config["model_type"] === "bert" ? 0 : reader.numberOr("pad_token_id", 1) + 1;
  return {
    hidden_size,
    heads,
    first_position,
    intermediate_size: reader.dimension("intermediate_size"),
    layers: reader.dimension("num_hidden_layers"),
    vocabulary_size: reader.dimension("vocab_size"),
    types: reader.dimensionOr("type_vocab_size", 2),
    positions: reader.dimension("max_position_embeddings"),
    norm_epsilon: reader.numberOr("layer_norm_eps", 1e-12),
  };
}

function only(reader: ConfigReader, name: string, value: string, file: string): void {
  const found = reader.stringOr(name, value);
  if (found === value) return;
  const state = `${name} must be "${value}" in the BERT family, found "${found}"`;
  throw new Failure("unsupported", `Cannot load ${file}: ${state}`);
}

/** Weights by their names inside the encoder, whatever the file puts before them. */
class Parts {
  readonly weights: Weights;
  readonly #prefix: string;
  readonly #hidden_size: number;
  readonly #owned: DisposableStack;

  constructor(weights: Weights, hidden_size: number, owned: DisposableStack) {
    const anchor = "embeddings.word_embeddings.weight";
    this.weights = weights;
    this.#prefix = ["bert.", "roberta."].find((prefix) => weights.has(prefix + anchor)) ?? "";
    this.#hidden_size = hidden_size;
    this.#owned = owned;
  }

  has(name: string): boolean {
    return this.weights.has(this.#prefix + name);
  }

  table(name: string, rows: number): Projection {
    return this.#project(this.#prefix + name, rows, this.#hidden_size, false);
  }

  linear(name: string, rows: number, columns: number): Projection {
    return this.#project(this.#prefix + name, rows, columns, true);
  }

  /** One that is not the encoder's own, under the name the file has. */
  head(name: string, rows: number): Projection {
    return this.#project(name, rows, this.#hidden_size, true);
  }

  norm(name: string): Norm {
    const vector = (kind: string) => this.weights.vector(`${this.#prefix}${name}.${kind}`, this.#hidden_size);
    return { weight: vector("weight"), bias: vector("bias") };
  }

  #project(name: string, rows: number, columns: number, bias: boolean): Projection {
    return this.#owned.use(projection(this.weights.linear(name, rows, columns, bias), columns));
  }
}

function loadEmbedding(parts: Parts, args: Arguments): Embedding {
  return {
    tokens: parts.table("embeddings.word_embeddings", args.vocabulary_size),
    positions: parts.table("embeddings.position_embeddings", args.positions),
    types: parts.table("embeddings.token_type_embeddings", args.types),
    norm: parts.norm("embeddings.LayerNorm"),
  };
}

function loadBlock(parts: Parts, { hidden_size, intermediate_size }: Arguments, layer: number): Block {
  const prefix = `encoder.layer.${layer}`;
  const square = (name: string) => parts.linear(`${prefix}.attention.${name}`, hidden_size, hidden_size);
  return {
    q: square("self.query"),
    k: square("self.key"),
    v: square("self.value"),
    o: square("output.dense"),
    attention_norm: parts.norm(`${prefix}.attention.output.LayerNorm`),
    up: parts.linear(`${prefix}.intermediate.dense`, intermediate_size, hidden_size),
    down: parts.linear(`${prefix}.output.dense`, hidden_size, intermediate_size),
    norm: parts.norm(`${prefix}.output.LayerNorm`),
  };
}

/** A score of each text from its first token's state (texts, hidden); null where the file has no head for one. */
function loadClassifier(parts: Parts, { hidden_size }: Arguments): Encoder["classify"] {
  const in_two = parts.weights.has("classifier.out_proj.weight"); // as RoBERTa has it
  if (!(in_two || parts.weights.has("classifier.weight"))) return null;
  const dense = in_two
    ? parts.head("classifier.dense", hidden_size)
    : parts.linear("pooler.dense", hidden_size, hidden_size);
  const out = parts.head(in_two ? "classifier.out_proj" : "classifier", 1);
  return (first) => {
    using turned = dense.apply(first);
    using squashed = tanh(turned);
    return out.apply(squashed);
  };
}

function lay(texts: readonly EncoderText[], first_position: number, owned: DisposableStack): Rectangle {
  const length = Math.max(...texts.map(({ token_ids }) => token_ids.length));
  const cells = <Value>(value: (text: EncoderText, place: number) => Value) =>
    texts.flatMap((text) => Array.from({ length }, (_, place) => value(text, place)));
  const numbers = (values: readonly number[]) =>
    owned.use(fromBytes(Uint32Array.from(values), [values.length], "uint32"));
  const is_full = texts.every(({ token_ids }) => token_ids.length === length);
  const seen = () => Uint8Array.from(cells(({ token_ids }, place) => Number(place < token_ids.length)));
  return {
    texts: texts.length,
    length,
    token_ids: numbers(cells(({ token_ids }, place) => token_ids[place] ?? 0)),
    positions: numbers(cells((_, place) => first_position + place)),
    types: numbers(cells(({ token_ids, second_at }, place) => Number(place >= second_at && place < token_ids.length))),
    seen: is_full ? "none" : owned.use(fromBytes(seen(), [texts.length, 1, 1, length], "bool")),
  };
}

/** (texts · length, hidden) */
function embed({ token_ids, positions, types }: Rectangle, embedding: Embedding, epsilon: number): MlxArray {
  using words = embedding.tokens.rows(token_ids);
  using places = embedding.positions.rows(positions);
  using kinds = embedding.types.rows(types);
  using placed = add(words, places);
  using summed = add(placed, kinds);
  return layerNorm(summed, embedding.norm.weight, embedding.norm.bias, epsilon);
}

function apply(x: MlxArray, block: Block, rectangle: Rectangle, args: Arguments): MlxArray {
  using attended = attendAll(x, block, rectangle, args);
  using up = block.up.apply(attended);
  using activated = gelu(up);
  using fed = block.down.apply(activated);
  using summed = add(attended, fed);
  return layerNorm(summed, block.norm.weight, block.norm.bias, args.norm_epsilon);
}

/** norm(x + o(attend(x))) */
function attendAll(x: MlxArray, block: Block, { texts, length, seen }: Rectangle, args: Arguments): MlxArray {
  const { hidden_size, heads, norm_epsilon } = args;
  const head_dim = hidden_size / heads;
  const headsOf = (projected: MlxArray) => {
    using split = reshape(projected, [texts, length, heads, head_dim]);
    return transpose(split, [0, 2, 1, 3]);
  };
  using all_queries = block.q.apply(x);
  using all_keys = block.k.apply(x);
  using all_values = block.v.apply(x);
  using queries = headsOf(all_queries);
  using keys = headsOf(all_keys);
  using values = headsOf(all_values);
  using mixed = attend(queries, keys, values, head_dim ** -0.5, seen);
  using by_position = transpose(mixed, [0, 2, 1, 3]);
  using joined = reshape(by_position, [texts * length, hidden_size]);
  using projected = block.o.apply(joined);
  using summed = add(x, projected);
  return layerNorm(summed, block.attention_norm.weight, block.attention_norm.bias, norm_epsilon);
}
