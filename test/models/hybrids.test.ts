/** What is true of models with recurrent layers beside their tokens and logits: what they take, and what adapts them. */

import { beforeAll, expect, test } from "bun:test";
import { blockBytes } from "../../src/engine/kv-pool.ts";
import { stateBytes } from "../../src/engine/state-pool.ts";
import { estimateModel } from "../../src/models/estimate.ts";
import { loadModel } from "../../src/models/load.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { familyFixture, prepareFixtures } from "./fixtures.ts";

const NAMES = [
  "lfm2",
  "lfm2-4bit",
  "lfm2-published",
  "lfm2_moe",
  "qwen3_next",
  "qwen3_next-4bit",
  "qwen3_next-published",
];

beforeAll(prepareFixtures, 300_000);

test.each(NAMES)("%s is estimated to keep what it then keeps", (name) => {
  const { path } = familyFixture(name);
  using model = loadModel(path);
  const estimate = estimateModel(path, ENGINE_SETTINGS);
  expect(estimate.kv_state_bytes).toBe(stateBytes(model.state_shapes));
  expect(estimate.kv_state_bytes).toBeGreaterThan(0);
  expect(estimate.kv_block_bytes).toBe(blockBytes(model.cache_shape));
  expect(estimate.kv_bytes_max).toBeGreaterThan(2 * estimate.rows_max * estimate.kv_state_bytes);
});
