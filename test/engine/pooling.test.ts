/** Each way to make one vector of several, on numbers that can be checked by eye. */

import { expect, test } from "bun:test";
import type { Pooling } from "../../src/core/purpose.ts";
import { Pooler } from "../../src/engine/pooling.ts";

const VECTORS = Float32Array.of(1, -2, 3, 8, 5, 6, 7, -4); // of four tokens

function pooled(...pooling: Pooling[]): number[] {
  const pooler = new Pooler(pooling, 2);
  pooler.add(VECTORS.subarray(0, 6), 3);
  pooler.add(VECTORS.subarray(6), 1);
  return Array.from(pooler.result());
}

const CASES: [Pooling, number[]][] = [
  ["cls", [1, -2]],
  ["last", [7, -4]],
  ["max", [7, 8]],
  ["mean", [4, 2]],
  ["mean_sqrt", [8, 4]],
  ["weighted_mean", [5, 1.6]],
];

test.each(CASES)("%s", (how, expected) => {
  const found = pooled(how);
  expect(found.map((value) => Math.round(value * 1e5) / 1e5)).toEqual(expected);
});

test("of several ways the results lie side by side", () => {
  expect(pooled("cls", "max", "mean")).toEqual([1, -2, 7, 8, 4, 2]);
});
