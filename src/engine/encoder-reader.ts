/** Texts to vectors or scores by an encoder, layer by layer. Knows no family. */

import { assert } from "../core/assert.ts";
import type { EncoderText } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import type { ReadingPurpose } from "../core/purpose.ts";
import { type MlxArray, toFloat32 } from "../mlx/array.ts";
import { astype, reshape, slice } from "../mlx/ops.ts";
import type { Encoder } from "../models/family.ts";
import { Pooler } from "./pooling.ts";
import type { Pieces, TextReader } from "./text-reader.ts";

// Beyond this a pass gains nothing; each text has its part of what a pass sets up.
const TEXTS_MAX = 256;

/** Owns the encoder. */
export function encoderReader(encoder: Encoder, purpose: ReadingPurpose): TextReader {
  const { classify, context_length, vocabulary_size, bytes_resident } = encoder;
  const finish = finisher(classify, purpose);
  return {
    context_length,
    vocabulary_size,
    bytes_resident,
    texts_max: TEXTS_MAX,
    *read(texts): Pieces {
      using states = yield* encoder.forward(texts);
      return finish(states, texts);
    },
    [Symbol.dispose]: () => encoder[Symbol.dispose](),
  };
}

type Finish = (states: MlxArray, texts: readonly EncoderText[]) => readonly Float32Array[];

/** States (texts, longest, hidden_size) to the numbers of each text. */
function finisher(classify: Encoder["classify"], purpose: ReadingPurpose): Finish {
  if (purpose.kind === "embedding") {
    return (states, texts) => {
      const [, length = 0, width = 0] = states.shape;
      const values = floats(states);
      return texts.map(({ token_ids }, index) => {
        const pooler = new Pooler(purpose.pooling, width);
        const start = index * length * width;
        pooler.add(values.subarray(start, start + token_ids.length * width), token_ids.length);
        return pooler.result();
      });
    };
  }
  if (purpose.score.from !== "classifier" || classify === null) {
    throw new Failure("unsupported", "Cannot rank with the model: its files have no head for a score");
  }
  return (states, texts) => {
    const [, , width = 0] = states.shape;
    using cut = slice(states, [0, 0, 0], [texts.length, 1, width]);
    using first = reshape(cut, [texts.length, width]);
    using scores = classify(first);
    const values = floats(scores);
    assert(values.length === texts.length, "each text has a score");
    return texts.map((_, index) => values.slice(index, index + 1));
  };
}

function floats(array: MlxArray): Float32Array {
  using wide = astype(array, "float32");
  return toFloat32(wide);
}
