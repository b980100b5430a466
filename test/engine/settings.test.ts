/** What each setting of the engine does, on a real tiny model. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { EngineSettings } from "../../src/core/settings.ts";
import { BlockFiles } from "../../src/engine/block-files.ts";
import { Engine } from "../../src/engine/engine.ts";
import { blockBytes } from "../../src/engine/kv-pool.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { GREEDY_ROW } from "./greedy-row.ts";

const SCRATCH = scratchFolder();
const PROMPT = Array.from({ length: 300 }, (_, index) => (index * 7) % 256);
let model: Model;

beforeAll(() => {
  prepareFixtures();
  model = loadModel(fixture("untied").path);
}, 120_000);

afterAll(() => model[Symbol.dispose]());

/** Every token of a step costs a millisecond: a clock that the engine's own steps move. */
class Run {
  readonly engine: Engine;
  readonly folder = mkdtempSync(join(SCRATCH, "run-"));
  #now_ms = 0;

  constructor(settings: Partial<EngineSettings>) {
    const timed: Model = {
      ...model,
      forward: (token_ids, step) => {
        this.#now_ms += token_ids.shape[0] ?? 0;
        return model.forward(token_ids, step);
      },
    };
    const wanted = { ...ENGINE_SETTINGS, ...settings };
    const files = new BlockFiles(this.folder, wanted.kv_disk_bytes_max, Date.now);
    this.engine = new Engine(timed, wanted, () => this.#now_ms, { files, key: "settings" });
  }

  add(id: number, prompt_ids: readonly number[], tokens_max = 20): void {
    this.engine.add({ ...GREEDY_ROW, id, prompt_ids, tokens_max });
  }

  /** What one step took, and who drew in it. */
  step(): { took_ms: number; drew: number[] } {
    const began_ms = this.#now_ms;
    const outcomes = this.engine.step();
    const drew = outcomes.flatMap((outcome) => {
      if (outcome.kind === "failed") throw new Error(outcome.failure.message);
      return outcome.token_ids.length > 0 ? [outcome.id] : [];
    });
    return { took_ms: this.#now_ms - began_ms, drew };
  }

  [Symbol.dispose](): void {
    this.engine[Symbol.dispose]();
  }
}

test.each([1, 2])("rows_max %d: so many rows step together", (rows_max) => {
  using run = new Run({ rows_max });
  for (const id of [1, 2, 3]) run.add(id, [id, 5, 9], 3);
  expect(run.step().drew).toEqual([1, 2, 3].slice(0, rows_max));
});

test.each([64, 256])("chunk_tokens_max %d: so many tokens of prompts go through in a step", (chunk_tokens_max) => {
  using run = new Run({ chunk_tokens_max });
  run.add(1, PROMPT);
  expect(run.step().took_ms).toBe(chunk_tokens_max);
});

test.each([50, 120])("decode_gap_ms_target %d: a long prompt holds up a running row no longer", (target_ms) => {
  using run = new Run({ decode_gap_ms_target: target_ms });
  run.add(1, [1, 2, 3], 60);
  for (let count = 0; count < 5; count++) run.step();
  run.add(2, PROMPT);
  const gaps: number[] = [];
  for (let drew: number[] = []; !drew.includes(2); ) {
    const step = run.step();
    drew = step.drew;
    gaps.push(step.took_ms);
  }
  // as many whole blocks as fit, and the running row's token
  expect(gaps.slice(1, -1).every((gap) => gap <= target_ms && gap > target_ms - 32)).toBe(true);
  expect(gaps.length).toBeGreaterThan(2);
});

test.each([4, 8])("kv_bytes_max for %d blocks: a row may have so many", (blocks) => {
  using run = new Run({ kv_bytes_max: blocks * blockBytes(model.cache_shape) });
  expect(run.engine.context_length).toBe(32 * blocks);
  expect(run.engine.blocks.free).toBe(blocks);
  expect(() => run.add(1, PROMPT, 1)).toThrow(`the cache holds ${32 * blocks} tokens`);
});

test.each([0, 4])("kv_disk_bytes_max for %d blocks: so many of nine are kept", async (blocks) => {
  const file_bytes = blockBytes(model.cache_shape) + 256;
  using run = new Run({ kv_disk_bytes_max: blocks * file_bytes });
  run.add(1, PROMPT, 1);
  while (run.engine.rows > 0) run.step();
  await run.engine.keepCached();
  expect(readdirSync(run.folder).length).toBe(blocks);
});
