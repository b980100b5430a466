/** How a model's memory is shared between blocks and states. */

import { expect, test } from "bun:test";
import { cacheBytes, divideCache, STATES_OF_ROW } from "../../src/core/cache-shares.ts";
import { integer, seeded } from "../random.ts";

test("without states all bytes are blocks, and there is always one", () => {
  const units = { block_bytes: 100, state_bytes: 0 };
  expect(divideCache(1050, units, 16)).toEqual({ blocks_max: 10, rows_max: 16, states_max: 0, blocks_per_state: 1 });
  expect(divideCache(0, units, 16).blocks_max).toBe(1);
});

test("a state is kept for as many blocks as it takes the memory of", () => {
  expect(divideCache(1e6, { block_bytes: 100, state_bytes: 20 }, 4).blocks_per_state).toBe(1);
  expect(divideCache(1e6, { block_bytes: 100, state_bytes: 4900 }, 4).blocks_per_state).toBe(49);
});

test("what is divided is no more than there was, where that is enough for one row (seed 3)", () => {
  const random = seeded(3);
  for (let turn = 0; turn < 2000; turn++) {
    const units = { block_bytes: integer(random, 1, 5000), state_bytes: integer(random, 1, 100_000) };
    const rows = integer(random, 1, 32);
    const bytes = cacheBytes(units, integer(random, 1, 300), 1) * integer(random, 1, 20);
    const { blocks_max, rows_max, states_max } = divideCache(bytes, units, rows);
    expect(rows_max).toBeGreaterThanOrEqual(1);
    expect(rows_max).toBeLessThanOrEqual(rows);
    expect(states_max).toBeGreaterThanOrEqual(STATES_OF_ROW * rows_max);
    expect(blocks_max * units.block_bytes + states_max * units.state_bytes).toBeLessThanOrEqual(bytes);
  }
});
