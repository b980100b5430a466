/** What is drawn, counted against what ought to be. */

import { expect, test } from "bun:test";
import type { Sampling } from "../../src/core/generation.ts";
import { bestTokens, isGreedy, sample } from "../../src/engine/sampler.ts";
import { fromBytes } from "../../src/mlx/array.ts";
import "../open-mlx.ts";

const PLAIN: Sampling = { temperature: 1, top_k: 0, top_p: 1, min_p: 0, seed: 7 };
// In the order of their tokens; the greatest is token 2.
const PROBABILITIES = [0.2, 0.05, 0.4, 0.1, 0.25];
const DRAWS = 4000;

/** Share of each token over many steps of one seed. */
function shares(changes: Partial<Sampling>, probabilities: readonly number[] = PROBABILITIES): number[] {
  using logits = fromBytes(Float32Array.from(probabilities, Math.log), [1, probabilities.length], "float32");
  const counts = probabilities.map(() => 0);
  for (let step = 0; step < DRAWS; step++) {
    const token = sample(logits, { ...PLAIN, ...changes }, step);
    counts[token] = (counts[token] ?? 0) + 1;
  }
  return counts.map((count) => count / DRAWS);
}

/** Pearson's chi-square of the observed shares; tokens that must not be drawn must not have been. */
function expectShares(found: readonly number[], weights: readonly number[]): void {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let chi_square = 0;
  for (const [token, weight] of weights.entries()) {
    const expected = (weight / total) * DRAWS;
    const observed = (found[token] ?? 0) * DRAWS;
    if (weight === 0) expect(observed).toBe(0);
    else chi_square += (observed - expected) ** 2 / expected;
  }
  expect(chi_square).toBeLessThan(18.47); // p = 0.001 at four degrees of freedom
}

test("plain sampling draws each token by its probability", () => {
  expectShares(shares({}), PROBABILITIES);
});

test("a temperature raises probabilities to its inverse", () => {
  expectShares(
    shares({ temperature: 0.5 }),
    PROBABILITIES.map((p) => p ** 2),
  );
});

test("temperature 0, and one too small to divide by, are greedy: the best token of each row", () => {
  expect([0, 1e-40, 1e-3].map((temperature) => isGreedy({ ...PLAIN, temperature }))).toEqual([true, true, false]);
  const rows = [...PROBABILITIES, ...PROBABILITIES.toReversed()];
  using logits = fromBytes(Float32Array.from(rows, Math.log), [2, PROBABILITIES.length], "float32");
  expect([...bestTokens(logits)]).toEqual([2, 2]);
});

test("top_k keeps the k best", () => {
  expectShares(shares({ top_k: 2 }), [0, 0, 0.4, 0, 0.25]);
});

test("a top_k beyond the vocabulary keeps all", () => {
  expectShares(shares({ top_k: 500 }), PROBABILITIES);
});

test("top_p keeps the smallest set that reaches p", () => {
  expectShares(shares({ top_p: 0.6 }), [0, 0, 0.4, 0, 0.25]);
  expectShares(shares({ top_p: 0.7 }), [0.2, 0, 0.4, 0, 0.25]);
});

test("top_p 0 keeps the best token", () => {
  expect(shares({ top_p: 0 })).toEqual([0, 0, 1, 0, 0]);
});

test("min_p drops tokens below its share of the best one", () => {
  expectShares(shares({ min_p: 0.45 }), [0.2, 0, 0.4, 0, 0.25]);
});

test("top_p counts what top_k has left", () => {
  expectShares(shares({ top_k: 3, top_p: 0.75 }), [0, 0, 0.4, 0, 0.25]);
});

test("the same seed draws the same tokens, another seed others", () => {
  const drawn = (seed: number) => {
    using logits = fromBytes(new Float32Array(1000), [1, 1000], "float32");
    return Array.from({ length: 20 }, (_, step) => sample(logits, { ...PLAIN, seed }, step));
  };
  expect(drawn(5)).toEqual(drawn(5));
  expect(drawn(5)).not.toEqual(drawn(6));
  expect(new Set(drawn(5)).size).toBeGreaterThan(15);
});
