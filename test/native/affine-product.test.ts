/** The quantised product against a float64 sum, over shapes that end inside a chunk, a tile or a panel. */

import { expect, test } from "bun:test";
import { fromBytes, toFloat32 } from "../../src/mlx/array.ts";
import { quantizedMatmul, transpose } from "../../src/mlx/ops.ts";
import "../open-mlx.ts";
import { integer, seeded } from "../random.ts";

// Sums in another order: a few roundings of 2^-24 of what is added up.
const ERROR_MAX = 1e-5;

interface Case {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  readonly group_size: number;
  readonly bits: number;
}

function randomCase(random: () => number): Case {
  const group_size = [32, 64, 128][integer(random, 0, 2)] ?? 32;
  return {
    group_size,
    bits: random() < 0.5 ? 4 : 8,
    columns: group_size * integer(random, 1, 12),
    rows: integer(random, 1, random() < 0.2 ? 700 : 60),
    count: integer(random, 1, 9),
  };
}

/** The greatest error over all places, relative to the sum of what was added there. */
function worstError({ count, rows, columns, group_size, bits }: Case, random: () => number): number {
  const number = () => random() * 2 - 1;
  const x = Float32Array.from({ length: count * columns }, number);
  const groups = columns / group_size;
  const words = Uint32Array.from({ length: (rows * columns * bits) / 32 }, () => random() * 2 ** 32);
  const scales = Float32Array.from({ length: rows * groups }, number);
  const biases = Float32Array.from({ length: rows * groups }, number);
  using x_array = fromBytes(x, [count, columns], "float32");
  using w_array = fromBytes(words, [rows, (columns * bits) / 32], "uint32");
  using s_array = fromBytes(scales, [rows, groups], "float32");
  using b_array = fromBytes(biases, [rows, groups], "float32");
  using product = quantizedMatmul(x_array, w_array, s_array, b_array, { group_size, bits });
  const found = toFloat32(product);
  let worst = 0;
  for (let row = 0; row < rows; row++) {
    for (let index = 0; index < count; index++) {
      let sum = 0;
      let size = 0;
      for (let column = 0; column < columns; column++) {
        const bit = (row * columns + column) * bits;
        const q = ((words[bit >> 5] ?? 0) >>> (bit & 31)) & (2 ** bits - 1);
        const group = row * groups + Math.floor(column / group_size);
        const term = (x[index * columns + column] ?? 0) * ((scales[group] ?? 0) * q + (biases[group] ?? 0));
        sum += term;
        size += Math.abs(term);
      }
      worst = Math.max(worst, Math.abs((found[index * rows + row] ?? Number.NaN) - sum) / size);
    }
  }
  return worst;
}

for (const seed of [1, 2, 3, 4]) {
  test(`60 random products are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 60; turn++) {
      const shape = randomCase(random);
      expect({ ...shape, good: worstError(shape, random) < ERROR_MAX }).toEqual({ ...shape, good: true });
    }
  });
}

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
  using expected = quantizedMatmul(plain, weight, scales, scales, { group_size: 32, bits: 4 });
  using found = quantizedMatmul(seen_by_row, weight, scales, scales, { group_size: 32, bits: 4 });
  expect([...toFloat32(found)]).toEqual([...toFloat32(expected)]);
});
