/** Texts to vectors or scores by a model that reads forward, a chunk at a time. Knows no family. */

import { assert } from "../core/assert.ts";
import type { EncoderText } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import type { ReadingPurpose } from "../core/purpose.ts";
import { evaluate, fromTokens, type MlxArray, toFloat32 } from "../mlx/array.ts";
import { astype, slice } from "../mlx/ops.ts";
import { BLOCK_TOKENS } from "../models/block.ts";
import type { Model } from "../models/family.ts";
import { type StateMove, Step } from "../models/step.ts";
import { blockBytes, KvPool } from "./kv-pool.ts";
import { Pooler } from "./pooling.ts";
import { StatePool } from "./state-pool.ts";
import type { Pieces, TextReader } from "./text-reader.ts";

// Each has blocks of its own, however short it is.
const TEXTS_MAX = 32;

/** A text on its way. */
interface Place {
  readonly token_ids: readonly number[];
  readonly number: number;
  readonly blocks: readonly number[];
  done: number;
  /** The slot with what recurrent layers keep of what is done. */
  state: number | null;
}

interface Cache {
  readonly pool: KvPool;
  readonly states: StatePool;
}

interface Chunk {
  readonly place: Place;
  readonly start: number;
  readonly count: number;
}

/** Takes in the states of a text's tokens as they are computed, and gives its numbers. */
interface Taker {
  take(hidden: MlxArray, ends: boolean): void;
  result(): Float32Array;
}

/** Owns the model. Keys and values of one go take at most `kv_bytes_max`, or those of one block for each text. */
export function decoderReader(model: Model, purpose: ReadingPurpose, kv_bytes_max: number): TextReader {
  const blocks_max = Math.max(1, Math.floor(kv_bytes_max / blockBytes(model.cache_shape)));
  const context_length = Math.min(model.context_length, blocks_max * BLOCK_TOKENS);
  const pool = new KvPool(model.cache_shape, Math.ceil(context_length / BLOCK_TOKENS) + TEXTS_MAX);
  const states = new StatePool(model.state_shapes);
  const newTaker = takers(model, purpose);
  return {
    context_length,
    vocabulary_size: model.vocabulary_size,
    bytes_resident: model.bytes_resident,
    texts_max: TEXTS_MAX,
    *read(texts, piece_tokens): Pieces {
      const places = placesOf(texts);
      const found = new Map(places.map((place) => [place, newTaker()]));
      for (
        let chunks = nextChunks(places, piece_tokens);
        chunks.length > 0;
        chunks = nextChunks(places, piece_tokens)
      ) {
        forward(model, { pool, states }, chunks, found);
        yield;
      }
      return [...found.values()].map((taker) => taker.result());
    },
    [Symbol.dispose]() {
      pool[Symbol.dispose]();
      states[Symbol.dispose]();
      model[Symbol.dispose]();
    },
  };
}

/** Blocks one text after another. */
function placesOf(texts: readonly EncoderText[]): Place[] {
  let next = 0;
  return texts.map(({ token_ids }, number) => {
    const blocks = Array.from({ length: Math.ceil(token_ids.length / BLOCK_TOKENS) }, (_, index) => next + index);
    next += blocks.length;
    return { token_ids, number, blocks, done: 0, state: null };
  });
}

/** As many tokens as a piece may have, and moves their texts on. */
function nextChunks(places: readonly Place[], piece_tokens: number): Chunk[] {
  let left = piece_tokens;
  return places.flatMap((place) => {
    const start = place.done;
    const count = Math.min(left, place.token_ids.length - start);
    if (count <= 0) return [];
    left -= count;
    place.done += count;
    return [{ place, start, count }];
  });
}

/** From one of the text's two slots to the other. */
function moved(place: Place): StateMove {
  const from = place.state;
  place.state = from === null || from % 2 === 1 ? 2 * place.number : 2 * place.number + 1;
  return { from, to: place.state };
}

function forward(
  model: Model,
  { pool, states }: Cache,
  chunks: readonly Chunk[],
  found: ReadonlyMap<Place, Taker>,
): void {
  pool.cover(Math.max(...chunks.flatMap(({ place }) => place.blocks)));
  const spans = chunks.map(({ place, start, count }) => {
    const blocks = place.blocks.slice(0, Math.ceil((start + count) / BLOCK_TOKENS));
    return { start, count, blocks, state: moved(place) };
  });
  using step = new Step(spans, pool.layers, states);
  using tokens = fromTokens(chunks.flatMap(({ place, start, count }) => place.token_ids.slice(start, start + count)));
  using hidden = model.forward(tokens, step);
  evaluate(hidden, ...step.kept);
  const width = hidden.shape[1] ?? 0;
  for (const [index, { place, count }] of chunks.entries()) {
    const first = step.spans[index]?.first ?? 0;
    using own = slice(hidden, [first, 0], [first + count, width]);
    found.get(place)?.take(own, place.done === place.token_ids.length);
  }
}

function takers(model: Model, purpose: ReadingPurpose): () => Taker {
  if (purpose.kind === "embedding") return () => pooled(model, purpose.pooling);
  const { score } = purpose;
  if (score.from !== "tokens") {
    throw new Failure("unsupported", "Cannot rank with the model: its files name no tokens for a score");
  }
  for (const id of [score.yes_id, score.no_id ?? 0]) {
    if (id < model.vocabulary_size) continue;
    throw new Failure("unsupported", `Cannot rank with the model: it has no token ${id}`);
  }
  return () => logOdds(model, score.yes_id, score.no_id);
}

function pooled(model: Model, pooling: (ReadingPurpose & { kind: "embedding" })["pooling"]): Taker {
  const only_last = pooling.every((how) => how === "last");
  let pooler: Pooler | null = null;
  return {
    take(hidden, ends) {
      if (only_last && !ends) return;
      const [count = 0, width = 0] = hidden.shape;
      using part = slice(hidden, [only_last ? count - 1 : 0, 0], [count, width]);
      using normed = model.normed(part);
      using wide = astype(normed, "float32");
      pooler ??= new Pooler(pooling, width);
      pooler.add(toFloat32(wide), part.shape[0] ?? 0);
    },
    result() {
      assert(pooler !== null, "a text has a last token");
      return pooler.result();
    },
  };
}

/** By how much the model would rather go on with one token than with the other. */
function logOdds(model: Model, yes_id: number, no_id: number | null): Taker {
  let score = Number.NaN;
  return {
    take(hidden, ends) {
      if (!ends) return;
      const [count = 0, width = 0] = hidden.shape;
      using last = slice(hidden, [count - 1, 0], [count, width]);
      using logits = model.logits(last);
      const values = toFloat32(logits);
      score = (values[yes_id] ?? Number.NaN) - (no_id === null ? 0 : (values[no_id] ?? Number.NaN));
    },
    result: () => Float32Array.of(score),
  };
}
