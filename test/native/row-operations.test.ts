/** Norms, softmax and sigmoid against float64, over random shapes and layouts. */

import { expect, test } from "bun:test";
import { fromBytes, toFloat32 } from "../../src/mlx/array.ts";
import { sigmoid, softmax } from "../../src/mlx/ops.ts";
import { integer, seeded } from "../random.ts";
import { coarse, type Drawn, draw, more, pick, result, testNoFallbacks, worstError } from "./arrays.ts";

// A few roundings of 2^-24 of numbers of the size of one.
const ERROR_MAX = 3e-6;

type Random = () => number;
type RowWork = (row: Float32Array) => ArrayLike<number>;

interface Case {
  readonly name: string;
  readonly found: Float32Array;
  readonly expected: Float64Array;
}

function eachRow(x: Drawn, size: number, work: RowWork): Float64Array {
  const all = new Float64Array(x.values.length);
  for (let at = 0; at < all.length; at += size) all.set(work(x.values.subarray(at, at + size)), at);
  return all;
}

function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
}

function normedBy(random: Random, shape: readonly number[], kind: "rms" | "layer"): Case {
  const size = shape.at(-1) ?? 1;
  const epsilon = 1e-5;
  const dtype = pick(random, ["float32", "float16", "bfloat16"]);
  using x = draw(random, shape, { item: (next) => next() * 4 - 1 });
  using weight = draw(random, [size], { dtype, item: coarse });
  using bias = draw(random, [size], { dtype, item: coarse });
  const with_weight = random() < 0.7;
  const with_bias = random() < 0.7;
  const weight_handle = with_weight ? weight.array.handle : null;
  const bias_handle = with_bias ? bias.array.handle : null;
  using y = result((slot, stream) =>
    kind === "rms"
      ? more.mlx_fast_rms_norm(slot, x.array.handle, weight_handle, epsilon, stream)
      : more.mlx_fast_layer_norm(slot, x.array.handle, weight_handle, bias_handle, epsilon, stream),
  );
  const expected = eachRow(x, size, (row) => {
    const middle = kind === "rms" ? 0 : mean(row);
    const away = Float64Array.from(row, (value) => value - middle);
    const factor = 1 / Math.sqrt(mean(away.map((value) => value * value)) + epsilon);
    return away.map((value, at) => {
      const weighted = value * factor * (with_weight ? (weight.values[at] ?? 0) : 1);
      return weighted + (kind === "layer" && with_bias ? (bias.values[at] ?? 0) : 0);
    });
  });
  return { name: `${kind} norm ${with_weight} ${with_bias} ${dtype}`, found: toFloat32(y), expected };
}

function softmaxOf(random: Random, shape: readonly number[]): Case {
  using x = draw(random, shape, { item: (next) => next() * 40 - 20 });
  using y = softmax(x.array, pick(random, [-1, shape.length - 1]));
  const expected = eachRow(x, shape.at(-1) ?? 1, (row) => {
    const powers = Float64Array.from(row, (value) => Math.exp(value - Math.max(...row)));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  });
  return { name: "softmax", found: toFloat32(y), expected };
}

function sigmoidOf(random: Random, shape: readonly number[]): Case {
  using x = draw(random, shape, { item: (next) => next() * 200 - 100 });
  using y = sigmoid(x.array);
  return { name: "sigmoid", found: toFloat32(y), expected: Float64Array.from(x.values, (v) => 1 / (1 + Math.exp(-v))) };
}

for (const seed of [1, 2, 3]) {
  test(`40 random norms, softmaxes and sigmoids are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 40; turn++) {
      const leading = Array.from({ length: integer(random, 0, 3) }, () => integer(random, 1, 3));
      const shape = [...leading, pick(random, [integer(random, 1, 70), integer(random, 1, 70), 576, 1025])];
      const make = pick(random, [
        () => normedBy(random, shape, "rms"),
        () => normedBy(random, shape, "layer"),
        () => softmaxOf(random, shape),
        () => sigmoidOf(random, shape),
      ]);
      const { name, found, expected } = make();
      expect({ turn, name, shape, good: worstError(found, expected) < ERROR_MAX }).toEqual({
        turn,
        name,
        shape,
        good: true,
      });
    }
  });
}

test("infinity and NaN are not lost", () => {
  const row = (odd: number) => Float32Array.from({ length: 40 }, (_, at) => (at === 21 ? odd : at / 40));
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
    using x = fromBytes(row(odd), [1, 40], "float32");
    using normed = result((slot, stream) => more.mlx_fast_rms_norm(slot, x.handle, null, 1e-5, stream));
    using layered = result((slot, stream) => more.mlx_fast_layer_norm(slot, x.handle, null, null, 1e-5, stream));
    using shares = softmax(x, -1);
    using squashed = sigmoid(x);
    for (const y of [normed, layered, shares]) expect(toFloat32(y)[21]).toBeNaN();
    expect(toFloat32(squashed)[21]).toBe(Number.isNaN(odd) ? Number.NaN : 1);
  }
});

test("softmax gives no share to -infinity, and NaN to a row of nothing else", () => {
  const none = Number.NEGATIVE_INFINITY;
  using some = fromBytes(Float32Array.of(none, 1, none, 1), [1, 4], "float32");
  using all = fromBytes(Float32Array.of(none, none), [1, 2], "float32");
  using shares = softmax(some, -1);
  using undefined_shares = softmax(all, -1);
  expect([...toFloat32(shares)]).toEqual([0, 0.5, 0, 0.5]);
  expect([...toFloat32(undefined_shares)]).toEqual([Number.NaN, Number.NaN]);
});

testNoFallbacks();
