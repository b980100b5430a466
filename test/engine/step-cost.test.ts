/** How large a chunk may be, by what tokens have cost. */

import { expect, test } from "bun:test";
import { StepCost } from "../../src/engine/step-cost.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";

/** A machine where a step takes 10 ms and each token of a prompt `token_ms` more. */
function measured(token_ms: number, decode_gap_ms_target = 100): StepCost {
  const cost = new StepCost(decode_gap_ms_target, 512);
  cost.observe({ decode_rows: 1, extra_tokens: 0 }, 10);
  for (let step = 0; step < 20; step++) {
    const extra_tokens = cost.chunkTokens(true);
    cost.observe({ decode_rows: 1, extra_tokens }, 10 + extra_tokens * token_ms);
  }
  return cost;
}

test("a chunk beside decoding rows takes what the gap leaves", () => {
  expect(measured(0.5).chunkTokens(true)).toBe(180);
  expect(measured(1).chunkTokens(true)).toBe(90);
  expect(measured(1, 50).chunkTokens(true)).toBe(40);
});

test("a chunk is half a block at least and never more than the most", () => {
  expect(measured(20).chunkTokens(true)).toBe(BLOCK_TOKENS / 2);
  expect(measured(0.01).chunkTokens(true)).toBe(512);
});

test("nobody decodes: the chunk is the largest, whatever a token costs", () => {
  expect(measured(20).chunkTokens(false)).toBe(512);
});

test("a machine that becomes slow gets smaller chunks within a few steps", () => {
  const cost = measured(0.5);
  for (let step = 0; step < 5; step++) {
    cost.observe({ decode_rows: 1, extra_tokens: 180 }, 10 + 180 * 2);
  }
  expect(cost.chunkTokens(true)).toBeLessThan(60);
});

test("drafts must be right the more often the more rows wait for them", () => {
  const cost = measured(1);
  expect(cost.acceptanceMin(1)).toBeCloseTo(0.1, 2);
  expect(cost.acceptanceMin(8)).toBeCloseTo(0.8, 2);
});

test("before anything is measured no draft pays", () => {
  expect(new StepCost(100, 512).acceptanceMin(1)).toBe(Number.POSITIVE_INFINITY);
});
