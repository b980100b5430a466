/** The quantised product against a float64 sum, over shapes that end inside a chunk, a tile or a panel. */

import { expect, test } from "bun:test";
import { type Dtype, fromBytes, toFloat32 } from "../../src/mlx/array.ts";
import { setFast } from "../../src/mlx/extras.ts";
import { quantizedMatmul, transpose } from "../../src/mlx/ops.ts";
import "../open-mlx.ts";
import { integer, seeded } from "../random.ts";
import { coarse, draw, pick, testNoFallbacks } from "./arrays.ts";
import { unpack } from "./packed.ts";

// Sums in another order: a few roundings of 2^-24 of what is added up.
const ERROR_MAX = 1e-5;
// Half a unit of three digits of eight bits, and of one.
const EXACT_ROUNDING = 0.5 / (127 * 2 ** 16);
const FAST_ROUNDING = 0.5 / 127;

interface Case {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  readonly group_size: number;
  readonly bits: number;
  readonly stored: Dtype;
}

function randomCase(random: () => number): Case {
  const group_size = pick(random, [32, 64, 128]);
  return {
    group_size,
    bits: pick(random, [2, 3, 4, 5, 6, 8]),
    stored: pick(random, ["float32", "float16", "bfloat16"]),
    columns: group_size * integer(random, 1, 12),
    rows: integer(random, 1, random() < 0.1 ? 700 : 60),
    count: integer(random, 1, random() < 0.3 ? 40 : 9),
  };
}

/** The greatest error over all places, relative to what is allowed there; `rounding` is relative to the greatest of a group. */
function worstProductError(shape: Case, rounding: number, random: () => number): number {
  const { count, rows, columns, group_size, bits, stored } = shape;
  const groups = columns / group_size;
  const words = Uint32Array.from({ length: (rows * columns * bits) / 32 }, () => random() * 2 ** 32);
  using x = draw(random, [count, columns]);
  using scales = draw(random, [rows, groups], { dtype: stored, item: coarse });
  using biases = draw(random, [rows, groups], { dtype: stored, item: coarse });
  using packed = fromBytes(words, [rows, (columns * bits) / 32], "uint32");
  using product = quantizedMatmul(x.array, packed, scales.array, biases.array, { mode: "affine", group_size, bits });
  const found = toFloat32(product);
  const greatest = Array.from({ length: count }, (_, index) =>
    Array.from({ length: groups }, (_, group) => {
      const from = index * columns + group * group_size;
      return Math.max(...x.values.subarray(from, from + group_size).map(Math.abs));
    }),
  );
  let worst = 0;
  const weights = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const group = row * groups + Math.floor(column / group_size);
      const q = unpack(words, row * columns + column, bits);
      weights[column] = (scales.values[group] ?? 0) * q + (biases.values[group] ?? 0);
    }
    for (let index = 0; index < count; index++) {
      const own = greatest[index] ?? [];
      let sum = 0;
      let allowed = 0;
      for (let column = 0; column < columns; column++) {
        const top = own[Math.floor(column / group_size)] ?? 0;
        const [weight, item] = [weights[column] ?? 0, x.values[index * columns + column] ?? 0];
        sum += weight * item;
        allowed += Math.abs(weight) * (ERROR_MAX * Math.abs(item) + rounding * top);
      }
      worst = Math.max(worst, Math.abs((found[index * rows + row] ?? Number.NaN) - sum) / allowed);
    }
  }
  return worst;
}

for (const seed of [1, 2, 3]) {
  test(`60 random products are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 60; turn++) {
      const shape = randomCase(random);
      const good = worstProductError(shape, EXACT_ROUNDING, random) < 1;
      expect({ turn, ...shape, good }).toEqual({ turn, ...shape, good: true });
    }
  });
}

test("fast products round to eight bits of the greatest of a group, and exact ones come back after them", () => {
  const random = seeded(7);
  const shape = { count: 5, rows: 40, columns: 256, group_size: 64, bits: 4, stored: "float32" } as const;
  setFast(true);
  try {
    expect(worstProductError(shape, FAST_ROUNDING, random)).toBeLessThan(1);
  } finally {
    setFast(false);
  }
  expect(worstProductError(shape, EXACT_ROUNDING, random)).toBeLessThan(1);
});

test("NaN and infinity among the activations are not lost, and touch no other row", () => {
  const random = seeded(6);
  for (const bits of [2, 4, 8]) {
    for (const count of [3, 40]) {
      const words = Uint32Array.from({ length: 20 * 2 * bits }, () => random() * 2 ** 32);
      const x = Float32Array.from({ length: count * 64 }, random);
      x[5] = Number.NaN;
      x[2 * 64 + 40] = Number.POSITIVE_INFINITY;
      using x_array = fromBytes(x, [count, 64], "float32");
      using w = fromBytes(words, [20, 2 * bits], "uint32");
      using ones = fromBytes(new Float32Array(40).fill(1), [20, 2], "float32");
      using y = quantizedMatmul(x_array, w, ones, ones, { mode: "affine", group_size: 32, bits });
      const finite = Array.from(toFloat32(y), Number.isFinite);
      const expected = Array.from({ length: count * 20 }, (_, at) => at >= 20 && (at < 40 || at >= 60));
      expect({ bits, count, finite }).toEqual({ bits, count, finite: expected });
    }
  }
});

test("activations that do not lie row by row are read in their order", () => {
  const random = seeded(5);
  const words = Uint32Array.from({ length: 8 * 4 }, () => random() * 2 ** 32);
  const x = Float32Array.from({ length: 3 * 32 }, random);
  const turned = Float32Array.from({ length: 96 }, (_, at) => x[(at % 3) * 32 + Math.floor(at / 3)] ?? 0);
  using scales = fromBytes(Float32Array.from({ length: 8 }, random), [8, 1], "float32");
  using weight = fromBytes(words, [8, 4], "uint32");
  using plain = fromBytes(x, [3, 32], "float32");
  using by_column = fromBytes(turned, [32, 3], "float32");
  using seen_by_row = transpose(by_column, [1, 0]);
  using expected = quantizedMatmul(plain, weight, scales, scales, { mode: "affine", group_size: 32, bits: 4 });
  using found = quantizedMatmul(seen_by_row, weight, scales, scales, { mode: "affine", group_size: 32, bits: 4 });
  expect([...toFloat32(found)]).toEqual([...toFloat32(expected)]);
});

testNoFallbacks();
