/** The product with dense weights of every float dtype, lying by rows or by columns, against a float64 sum. */

import { expect, test } from "bun:test";
import { type Dtype, fromBytes, type MlxArray, toFloat32 } from "../../src/mlx/array.ts";
import { astype, matmul, transpose } from "../../src/mlx/ops.ts";
import { integer, seeded } from "../random.ts";
import { coarse, draw, pick, testNoFallbacks } from "./arrays.ts";

// Sums in another order: a few roundings of 2^-24 of what is added up.
const ERROR_MAX = 1e-5;

interface Case {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  readonly stored: Dtype;
  /** Whether the weights are a transposed view of rows, as a linear layer has them. */
  readonly by_rows: boolean;
}

function randomCase(random: () => number): Case {
  return {
    count: integer(random, 1, random() < 0.3 ? 40 : 9),
    rows: integer(random, 1, random() < 0.1 ? 700 : 60),
    columns: integer(random, 1, random() < 0.1 ? 2500 : 200),
    stored: pick(random, ["float32", "float16", "bfloat16"]),
    by_rows: random() < 0.5,
  };
}

/** `values` (columns, rows) in memory as the case says. */
function weightOf({ rows, columns, stored, by_rows }: Case, values: Float32Array): MlxArray {
  if (!by_rows) {
    using plain = fromBytes(values, [columns, rows], "float32");
    return astype(plain, stored);
  }
  const turned = Float32Array.from(values, (_, at) => values[(at % columns) * rows + Math.floor(at / columns)] ?? 0);
  using lying = fromBytes(turned, [rows, columns], "float32");
  using typed = astype(lying, stored);
  return transpose(typed, [1, 0]);
}

for (const seed of [1, 2, 3]) {
  test(`60 random products are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 60; turn++) {
      const shape = randomCase(random);
      const { count, rows, columns } = shape;
      const values = Float32Array.from({ length: columns * rows }, () => coarse(random));
      using x = draw(random, [count, columns]);
      using weight = weightOf(shape, values);
      using y = matmul(x.array, weight);
      const found = toFloat32(y);
      let worst = 0;
      for (const [at, value] of found.entries()) {
        let sum = 0;
        let size = 1e-9;
        for (let column = 0; column < columns; column++) {
          const term =
            (x.values[Math.floor(at / rows) * columns + column] ?? 0) * (values[column * rows + (at % rows)] ?? 0);
          sum += term;
          size += Math.abs(term);
        }
        worst = Math.max(worst, Math.abs(value - sum) / size);
      }
      const good = worst < ERROR_MAX;
      expect({ turn, ...shape, good }).toEqual({ turn, ...shape, good: true });
    }
  });
}

testNoFallbacks();
