/** The selection without sorting against sorting. */

import { expect, test } from "bun:test";
import { Selection } from "../../src/engine/selection.ts";
import { integer, seeded } from "../random.ts";

const SEED = 20_261_123;

/** The definition: sort, and add up until it is enough. */
function reach(keys: Float64Array, masses: Float64Array, mass: number): number {
  const order = Array.from(keys, (key, index) => ({ key, mass: masses[index] ?? 0 })).sort((a, b) => a.key - b.key);
  let sum = 0;
  for (const element of order) {
    sum += element.mass;
    if (sum >= mass && sum > 0) return element.key;
  }
  return order.at(-1)?.key ?? Number.NaN;
}

test(`goes as far as the sorted elements do (seed ${SEED})`, () => {
  const random = seeded(SEED);
  const selection = new Selection(5000);
  for (let round = 0; round < 400; round++) {
    const count = [1, 2, 7, 300, 5000][integer(random, 0, 4)] ?? 1;
    const kinds = [random, () => integer(random, 0, 4), () => random() ** 20 * 1e9, () => 1 + random() * 1e-12];
    const key = kinds[integer(random, 0, 3)] ?? random;
    const keys = Float64Array.from({ length: count }, key);
    // Whole masses: their sums are exact in any order.
    const masses = Float64Array.from({ length: count }, () => integer(random, 0, 9) ** 2);
    const total = masses.reduce((sum, mass) => sum + mass, 0);
    for (const mass of [0, 1, integer(random, 0, total), total, total + 1]) {
      const found = { round, count, mass, key: selection.reach(keys, masses, mass) };
      expect(found).toEqual({ round, count, mass, key: reach(keys, masses, mass) });
    }
  }
});
