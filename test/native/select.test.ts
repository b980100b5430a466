/** Argmax, sort and top-k against JavaScript's own order, on short rows and on rows as long as a vocabulary. */

import { expect, test } from "bun:test";
import { type MlxArray, toFloat32 } from "../../src/mlx/array.ts";
import { astype, sort, topk } from "../../src/mlx/ops.ts";
import { integer, seeded } from "../random.ts";
import { draw, more, pick, result, testNoFallbacks } from "./arrays.ts";

type Random = () => number;

/** Ties, infinities and NaN as well as plain numbers. */
function anyNumber(random: Random): number {
  return random() < 0.02
    ? pick(random, [Infinity, -Infinity, Number.NaN, 0, -0, 1e-42])
    : Math.fround(random() * 8 - 4);
}

const numbers: readonly ((random: Random) => number)[] = [
  anyNumber,
  (random) => random() * 1e30 - 5e29,
  (random) => integer(random, -3, 3),
  () => Number.NEGATIVE_INFINITY,
];

function ascending(row: Float32Array): number[] {
  return Array.from(row.toSorted(), (value) => (value === 0 ? 0 : value)); // NaN last; both zeros are equal
}

function rowsOf(values: Float32Array, size: number): Float32Array[] {
  return Array.from({ length: values.length / size }, (_, row) => values.subarray(row * size, (row + 1) * size));
}

function argmax(x: MlxArray, axis: number, keeps_axis: boolean): MlxArray {
  return result((slot, stream) => more.mlx_argmax_axis(slot, x.handle, axis, keeps_axis, stream));
}

function bestOf(row: Float32Array): number {
  const odd = row.findIndex(Number.isNaN);
  return odd === -1 ? row.indexOf(Math.max(...row)) : odd;
}

for (const seed of [1, 2, 3]) {
  test(`40 random rows are ordered as they should be (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 40; turn++) {
      const size = pick(random, [integer(random, 1, 40), integer(random, 1, 300), integer(random, 1, 9000)]);
      const shape = [...Array.from({ length: integer(random, 0, 2) }, () => integer(random, 1, 3)), size];
      using x = draw(random, shape, { item: pick(random, [anyNumber, ...numbers]) });
      const axis = pick(random, [-1, shape.length - 1]);
      const k = integer(random, 1, random() < 0.5 ? size : Math.min(size, 50));
      const keeps_axis = random() < 0.5;
      using sorted = sort(x.array, axis);
      using best = topk(x.array, k, axis);
      using place = argmax(x.array, axis, keeps_axis);
      using place_float = astype(place, "float32");
      const rows = rowsOf(x.values, size);
      const found = {
        sorted: rowsOf(toFloat32(sorted), size).map((row) => Array.from(row, (value) => (value === 0 ? 0 : value))),
        best: rowsOf(toFloat32(best), k).map(ascending),
        places: Array.from(toFloat32(place_float)),
        dtype: place.dtype,
        shapes: [sorted.shape, best.shape, place.shape],
      };
      expect({ turn, size, k, ...found }).toEqual({
        turn,
        size,
        k,
        sorted: rows.map(ascending),
        best: rows.map((row) => ascending(row).slice(size - k)),
        places: rows.map(bestOf),
        dtype: "uint32",
        shapes: [shape, [...shape.slice(0, -1), k], keeps_axis ? [...shape.slice(0, -1), 1] : shape.slice(0, -1)],
      });
    }
  });
}

testNoFallbacks();
