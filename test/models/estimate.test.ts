/** What is reserved for a model is what its engine then makes of it, for each family and each kind of file. */

import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { roomFor } from "../../src/engine/layer-pools.ts";
import { estimateModel, readHeaders, textBytes, textCache } from "../../src/models/estimate.ts";
import { stateBytes } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { foresee } from "../../src/schedule/room.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { FIXTURES, familyFixture, prepareFixtures } from "./fixtures.ts";

prepareFixtures();
const NAMES = readdirSync(FIXTURES).flatMap((name) => /^family-(.*)$/.exec(name)?.[1] ?? []);

const SETTINGS = { ...ENGINE_SETTINGS, rows_max: 3, chunk_tokens_max: 64, kv_bytes_max: 2 ** 40 };

test.each(NAMES)("%s is estimated to keep what it then keeps", (name) => {
  const { path } = familyFixture(name);
  using model = loadModel(path);
  const estimate = estimateModel(path, SETTINGS);
  const { cache_shape, context_length } = model;
  const room = roomFor(cache_shape, context_length, { ...SETTINGS, kv_bytes_max: estimate.kv_bytes_max });
  const plenty = roomFor(cache_shape, context_length, SETTINGS);
  expect(estimate.kv_state_bytes).toBe(stateBytes(model.state_shapes));
  expect(estimate.kv_block_bytes).toBe(room.block_bytes);
  expect(estimate.kv_windows?.slot_bytes ?? 0).toBe(room.windows === null ? 0 : room.slot_bytes);
  // where every layer sees a window the engine would take more than rows see, for what is kept of texts that ended
  const seen = SETTINGS.rows_max * (estimate.kv_windows?.row_slots ?? 0);
  const windows = plenty.windows && { ...plenty.windows, slots_max: Math.min(plenty.windows.slots_max, seen) };
  expect(room).toEqual({ ...plenty, windows });
  const plan = foresee(estimate, [], { limit_bytes: 2 ** 40, models_max: 1 }, () => null);
  expect(plan.context_length).toBe(estimate.context_length);
  if (model.state_shapes.length > 0) return; // states are beside
  const taken = room.blocks_max * room.block_bytes + (room.windows?.slots_max ?? 0) * room.slot_bytes;
  expect(estimate.kv_bytes_max).toBe(taken);
});

test.each(["gemma3", "gemma3_text", "qwen3", "gemma2"])(
  "of %s what the config leaves out is as the family has it",
  (name) => {
    const given = familyFixture(name).path;
    const path = join(scratchFolder(), name);
    mkdirSync(path);
    for (const file of readdirSync(given)) if (file !== "config.json") symlinkSync(join(given, file), join(path, file));
    const config = JSON.parse(readFileSync(join(given, "config.json"), "utf8"));
    delete (config.text_config ?? config).max_position_embeddings;
    writeFileSync(join(path, "config.json"), JSON.stringify(config));
    using model = loadModel(path);
    const { context_length, kv_windows } = estimateModel(path, SETTINGS);
    const { windows } = roomFor(model.cache_shape, model.context_length, SETTINGS);
    expect([context_length, kv_windows !== null]).toEqual([model.context_length, windows !== null]);
  },
);

test.each(["lfm2", "qwen3_next", "gemma3", "qwen3"])("of %s the config alone tells as much as all headers", (name) => {
  const headers = readHeaders(familyFixture(name).path);
  const here = textCache(headers, 8);
  expect(textCache({ ...headers, tensors: [] }, 8)).toEqual(here);
  expect(textBytes(here, 100)).toBeGreaterThan(textBytes(here, 99));
});
