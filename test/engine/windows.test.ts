/**
 * Layers that see a window: their memory is bounded by it, and a prefix is taken over where the window before its end
 * is there.
 */

import { expect, test } from "bun:test";
import { PRIORITY } from "../../src/core/priority.ts";
import type { EngineSettings } from "../../src/core/settings.ts";
import { Batcher } from "../../src/engine/batcher.ts";
import { Engine } from "../../src/engine/engine.ts";
import { blockBytes } from "../../src/engine/kv-pool.ts";
import { LayerPools, roomFor } from "../../src/engine/layer-pools.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { familyFixture, prepareFixtures } from "../models/fixtures.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { GREEDY_ROW } from "./greedy-row.ts";

const PROMPT = Array.from({ length: 150 }, (_, index) => (index * 37) % 251);
const TOKENS_MAX = 350;

prepareFixtures();

function stream(model: Model, settings: EngineSettings): { token_ids: number[]; context_length: number } {
  using engine = new Engine(model, settings, () => performance.now());
  engine.add({ ...GREEDY_ROW, id: 1, prompt_ids: PROMPT, tokens_max: TOKENS_MAX });
  const token_ids: number[] = [];
  while (engine.rows > 0) {
    for (const outcome of engine.step()) {
      if (outcome.kind === "failed") throw new Error(outcome.failure.message);
      token_ids.push(...outcome.token_ids);
    }
    engine.checkIntegrity();
  }
  return { token_ids, context_length: engine.context_length };
}

// All four layers see 24 positions; all see as far in caps; three of four; every other one.
test.each([
  ["mistral", 5],
  ["gemma2", 5],
  ["gemma3_text", 10],
  ["gpt_oss", 12],
])(
  "%s answers as with memory for all in that of %d blocks",
  (name, blocks) => {
    using model = loadModel(familyFixture(name).path);
    const settings = { ...ENGINE_SETTINGS, chunk_tokens_max: 32, rows_max: 2 };
    const kv_bytes_max = blocks * blockBytes(model.cache_shape);
    const room = roomFor(model.cache_shape, model.context_length, { ...settings, kv_bytes_max });
    using pools = new LayerPools(model.cache_shape, room, 32);
    const bytes = pools.layers.reduce((sum, { keys, values }) => sum + keys.bytes + values.bytes, 0);
    expect(bytes).toBeLessThanOrEqual(kv_bytes_max);
    const found = stream(model, { ...settings, kv_bytes_max });
    expect(found).toEqual(stream(model, settings));
    expect(found.context_length).toBe(512);
    expect(found.token_ids.length).toBe(TOKENS_MAX);
  },
  60_000,
);

test("a model whose window is as long as its context has blocks only", () => {
  const shape = { layers: 2, kv_heads: 1, head_dim: 32, windows: [512, null] };
  const bytes = blockBytes(shape);
  expect(roomFor(shape, 512, { ...ENGINE_SETTINGS, kv_bytes_max: 4 * bytes })).toMatchObject({
    blocks_max: 4,
    windows: null,
  });
  expect(roomFor(shape, 513, { ...ENGINE_SETTINGS, kv_bytes_max: 4 * bytes }).windows).not.toBeNull();
});

test("a text goes on where its window is kept, and is read again where it is not", () => {
  const rows = new Batcher({
    blocks_max: 64,
    cached_blocks_max: 64,
    rows_max: 16,
    decode_gap_ms_target: 100,
    chunk_tokens_max: 64,
    restored_blocks_max: 2,
    draft_tokens_max: 0,
    windows: { positions: 40, slots_max: 8, cached_slots_max: 2 },
  });
  const text = (length: number, seed: number) => Array.from({ length }, (_, index) => 1000 * seed + index);
  /** Where the prompt is read from, and how many slots are in use then. */
  const read = (id: number, prompt_ids: readonly number[]) => {
    const urgency = { priority: PRIORITY.normal, waited_ms: 0 };
    const plain = { stop_token_ids: new Set<number>(), urgency, root: "", drafts: false, scores_prompt: false };
    rows.join(id, prompt_ids, { tokens_max: 1, ...plain }, 0);
    const starts: number[] = [];
    for (let ended = false; !ended; ) {
      for (const part of rows.next().parts) {
        starts.push(part.start);
        ended = rows.commit(part, part.outputs > 0 ? [7] : []).finish !== null;
      }
      rows.checkIntegrity();
    }
    rows.leave(id);
    return starts[0];
  };
  expect(read(1, text(321, 1))).toBe(0);
  expect(read(2, [...text(320, 1), ...text(50, 2)])).toBe(320);
  expect(rows.explain(text(160, 1), "").matched_tokens).toBe(0);
  expect(read(3, [...text(160, 1), ...text(9, 3)])).toBe(0);
  expect(rows.explain(text(160, 1), "").matched_tokens).toBe(160);
});
