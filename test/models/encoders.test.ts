/** The BERT family against numpy in float64, and decoders that read against mlx-lm; alone, together, and in pieces. */

import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { EncoderText } from "../../src/core/encoding.ts";
import type { ReadingPurpose } from "../../src/core/purpose.ts";
import { decoderReader } from "../../src/engine/decoder-reader.ts";
import { encoderReader } from "../../src/engine/encoder-reader.ts";
import type { TextReader } from "../../src/engine/text-reader.ts";
import { arrayCounts, fromBytes, toFloat32 } from "../../src/mlx/array.ts";
import { gelu } from "../../src/models/layers.ts";
import { loadModel, openModel } from "../../src/models/load.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fallbacks } from "../native/arrays.ts";
import { integer, seeded } from "../random.ts";
import "../open-mlx.ts";
import { askNumpy, TINY, writeTinyEncoder } from "./encoder-files.ts";
import { fixture, prepareFixtures } from "./fixtures.ts";
import { expectAllGivenBack } from "./given-back.ts";

const FOLDER = scratchFolder();
const READING = { tokens_max: null, lowercase: false };
beforeAll(prepareFixtures, 120_000);
expectAllGivenBack();

function open(path: string): TextReader {
  const opened = openModel(path);
  if (opened.kind !== "reads_both_ways") throw new Error(`${path} ${opened.kind}`);
  return encoderReader(opened.model, opened.purpose);
}

function readAll(reader: TextReader, texts: readonly EncoderText[], piece_tokens = 512): readonly Float32Array[] {
  const pieces = reader.read(texts, piece_tokens);
  for (;;) {
    const { done, value } = pieces.next();
    if (done === true) return value;
  }
}

function unit(vector: ArrayLike<number>): number[] {
  const values = Array.from(vector);
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}

function apart(found: ArrayLike<number> | undefined, expected: readonly number[] | undefined): number {
  return Math.max(
    ...(expected ?? [Number.NaN]).map((value, index) => Math.abs(value - (found?.[index] ?? Number.NaN))),
  );
}

function randomTexts(seed: number, vocabulary_size: number, length_max: number, types: boolean): EncoderText[] {
  const random = seeded(seed);
  return Array.from({ length: 9 }, () => {
    const token_ids = Array.from({ length: integer(random, 1, length_max) }, () =>
      integer(random, 2, vocabulary_size - 1),
    );
    return { token_ids, second_at: types ? integer(random, 1, token_ids.length) : token_ids.length };
  });
}

const FORMS = [
  ["bert", false],
  ["bert", true],
  ["roberta", false],
  ["xlm-roberta", true],
] as const;

describe.each(FORMS)("a tiny %s, with a classifier: %p,", (type, classifies) => {
  const folder = join(FOLDER, `${type}-${classifies}`);
  const texts = randomTexts(3, TINY.vocabulary_size, 60, type === "bert");

  test("gives numpy's numbers, alone and together, with no operation left to MLX", () => {
    writeTinyEncoder(folder, type, classifies);
    const expected = askNumpy(folder, {
      token_ids: texts.map(({ token_ids }) => token_ids),
      types: texts.map(({ token_ids, second_at }) => token_ids.map((_, place) => Number(place >= second_at))),
    }).values;
    const before = fallbacks();
    using reader = open(folder);
    expect(reader.context_length).toBe(type === "bert" ? TINY.positions : TINY.positions - 2);
    const numbersOf = (values: Float32Array | undefined) => (classifies ? (values ?? []) : unit(values ?? []));
    const together = readAll(reader, texts);
    expect(together[0]?.length).toBe(classifies ? 1 : TINY.hidden_size);
    for (const [index, text] of texts.entries()) {
      const [alone] = readAll(reader, [text]);
      for (const found of [alone, together[index]]) {
        expect(apart(numbersOf(found), expected[index])).toBeLessThan(2e-5);
      }
    }
    expect(fallbacks()).toEqual(before);
  });

  test("gives back what a pass that was left holds", () => {
    const before = arrayCounts().alive;
    {
      using reader = open(folder);
      const pieces = reader.read(texts, 512);
      pieces.next();
      pieces.return([]);
    }
    expect(arrayCounts().alive).toBe(before);
  });
});

function decoder(name: string, purpose: ReadingPurpose): TextReader {
  return decoderReader(loadModel(fixture(name).path), purpose, 2 ** 24);
}

const LAST: ReadingPurpose = {
  kind: "embedding",
  pooling: ["last"],
  normalize: true,
  width: 64,
  dimensions: [],
  prompt: "",
  prompts: {},
  reading: READING,
};

describe("a decoder that reads", () => {
  const texts = randomTexts(8, 256, 150, false);

  test("gives the log odds of two tokens that mlx-lm gives, in pieces of any size", () => {
    const { prompt_ids, logits } = fixture("untied").expected;
    const score = { from: "tokens", yes_id: 17, no_id: 200, prompt: "qwen" } as const;
    using reader = decoder("untied", { kind: "reranker", score, activation: "sigmoid", reading: READING });
    const expected = (logits[17] ?? 0) - (logits[200] ?? 0);
    for (const piece_tokens of [512, 32, 7]) {
      const text = { token_ids: prompt_ids, second_at: prompt_ids.length };
      const [one] = readAll(reader, [text], piece_tokens);
      const several = readAll(reader, [...texts.slice(0, 3), text], piece_tokens);
      for (const found of [one, several[3]]) expect(apart(found, [expected])).toBeLessThan(2e-3);
    }
  });

  test.each(["untied", "family-lfm2", "family-qwen3_next"])(
    "gives the last token's state, alone and together, in pieces of any size: %s",
    (name) => {
      using reader = decoder(name, LAST);
      const expected = texts.map((text) => Array.from(readAll(reader, [text])[0] ?? []));
      expect(expected[0]?.length).toBe(64);
      for (const piece_tokens of [512, 50]) {
        const together = readAll(reader, texts, piece_tokens);
        for (const [index, vector] of together.entries()) expect(apart(vector, expected[index])).toBeLessThan(1e-4);
      }
      expect(apart(expected[0], expected[1])).toBeGreaterThan(0.1);
    },
  );

  test("takes texts as long as its memory allows", () => {
    using reader = decoderReader(loadModel(fixture("untied").path), LAST, 1);
    expect(reader.context_length).toBe(32);
  });
});

test("GELU is that of the error function", () => {
  const xs = Float32Array.from({ length: 403 }, (_, index) => (index - 200) / 20);
  using x = fromBytes(xs, [1, xs.length], "float32");
  using y = gelu(x);
  const expected = Array.from(xs, (value) => (value / 2) * (1 + erf(value / Math.SQRT2)));
  expect(apart(toFloat32(y), expected)).toBeLessThan(2e-6);
});

/** Its series (Abramowitz and Stegun 7.1.6), which converges everywhere. */
function erf(x: number): number {
  let term = x;
  let sum = 0;
  for (let n = 0; n < 300; n++) {
    sum += term;
    term *= (2 * x * x) / (2 * n + 3);
  }
  return ((2 * sum) / Math.sqrt(Math.PI)) * Math.exp(-x * x);
}
