/** Keys and values in 8 and 4 bits: near float32 in every kind of attention. */

import { afterAll, describe, expect, test } from "bun:test";
import { Failure } from "../../src/core/failure.ts";
import type { KvBits } from "../../src/core/settings.ts";
import { blockBytes, KvPool } from "../../src/engine/kv-pool.ts";
import { arrayCounts } from "../../src/mlx/array.ts";
import { loadModel } from "../../src/models/load.ts";
import "../open-mlx.ts";
import { familyFixture, fixture, prepareFixtures } from "./fixtures.ts";
import { lastLogits } from "./greedy.ts";

// How far logits may go from those of float32, by weights drawn at random, which forgive little.
const TOLERANCES = [
  [8, 0.03],
  [4, 0.3],
] as const;
// Grouped heads; windows and soft caps in all layers; windows in some.
const DENSE = ["qwen3", "gemma2", "gemma3_text"];
// Windows in some layers and sinks. For a small difference the tiny model asks other experts, and is then far away.
const MIXTURE = "gpt_oss";

prepareFixtures();

afterAll(() => {
  expect(arrayCounts().alive).toBe(0);
});

/** Root mean squares: of the differences, over that of the logits. */
function distance(found: Float32Array, expected: Float32Array): number {
  const square = (logits: Float32Array) => Math.sqrt(logits.reduce((sum, logit) => sum + logit * logit, 0));
  return square(found.map((logit, index) => logit - (expected[index] ?? Number.NaN))) / square(expected);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Of what each prompt of the fixture gives. */
function away(name: string, bits: KvBits): number[] {
  const { path, expected } = familyFixture(name);
  using model = loadModel(path);
  return expected.map(({ prompt_ids }) => distance(lastLogits(model, prompt_ids, bits), lastLogits(model, prompt_ids)));
}

describe.each(TOLERANCES)("in %d bits", (bits, tolerance) => {
  test.each(DENSE)(`%s is within ${tolerance} of float32, and not the same`, (name) => {
    expect(median(away(name, bits))).toBeLessThan(tolerance);
    expect(Math.min(...away(name, bits))).toBeGreaterThan(0);
  });
});

test("a mixture with sinks and windows is within 0.03 of float32 in 8 bits", () => {
  expect(Math.min(...away(MIXTURE, 8))).toBeLessThan(0.03);
});

test("a block takes 9 and 5 parts of 32 of what it takes in float32", () => {
  const shape = { layers: 3, kv_heads: 2, head_dim: 64 };
  expect([32, 8, 4].map((bits) => blockBytes(shape, bits as KvBits) / blockBytes(shape))).toEqual([1, 9 / 32, 5 / 32]);
});

test("heads that groups of 32 do not divide are refused", () => {
  using model = loadModel(fixture("family-mistral").path);
  const state = "heads of whole groups of 32 are needed, found head_dim 24";
  const refusal = new Failure("unsupported", `Cannot keep keys and values in 8 bits: ${state}`, "kv_bits");
  expect(() => new KvPool(model.cache_shape, 1, 8)).toThrow(refusal);
});
