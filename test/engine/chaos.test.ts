/** Rows that join, leave and fail at random on a real model, over a cache too small for them and a disk under them. */

import { expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { BlockFiles } from "../../src/engine/block-files.ts";
import { Engine, type RowOutcome } from "../../src/engine/engine.ts";
import { blockBytes } from "../../src/engine/kv-pool.ts";
import { arrayCounts } from "../../src/mlx/array.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { integer, seeded } from "../random.ts";

const SCRATCH = scratchFolder();
const BLOCKS = 24;
const TURNS = 1500;

/** Now and then the whole step fails, as when the device has no memory left. */
function failing(model: Model, fails: () => boolean): Model {
  return {
    ...model,
    forward(token_ids, step) {
      if (fails()) throw new Error("the device failed");
      return model.forward(token_ids, step);
    },
  };
}

test.each([1, 2])(
  "after joins, cancels and failed steps every block is free or cached, and no array is left (seed %d)",
  async (seed) => {
    prepareFixtures();
    const random = seeded(seed);
    const before = arrayCounts();
    const seen = { joined: 0, cancelled: 0, failed: 0, finished: 0, cached_tokens: 0 };
    {
      using model = loadModel(fixture("untied").path);
      const faulty = failing(model, () => random() < 0.01);
      const files = new BlockFiles(mkdtempSync(join(SCRATCH, "chaos-")), 2 ** 20, Date.now);
      const settings = {
        ...ENGINE_SETTINGS,
        kv_bytes_max: BLOCKS * blockBytes(model.cache_shape),
        draft_tokens_max: 8,
      };
      using engine = new Engine(faulty, settings, () => performance.now(), { files, key: "chaos" });
      const resident = arrayCounts().alive;
      const prefixes = Array.from({ length: 12 }, () => words(random, integer(random, 10, 200)));
      const running = new Set<number>();

      const end = (outcome: RowOutcome) => {
        if (outcome.kind === "progress" && outcome.finish === null) return;
        running.delete(outcome.id);
        if (outcome.kind === "failed") seen.failed += 1;
        else {
          seen.finished += 1;
          seen.cached_tokens += outcome.cached_tokens;
        }
      };

      for (let turn = 0; turn < TURNS || engine.rows > 0; turn++) {
        if (turn < TURNS && running.size < 12 && random() < 0.4) {
          const prefix = prefixes[integer(random, 0, prefixes.length - 1)] ?? [];
          const sampling = { temperature: random() < 0.5 ? 0 : 1, top_k: 0, top_p: 1, min_p: 0, seed: turn };
          const prompt_ids = [...prefix, ...words(random, integer(random, 1, 60))];
          engine.add({
            id: ++seen.joined,
            prompt_ids,
            sampling,
            tokens_max: integer(random, 1, 60),
            stop_token_ids: [0],
          });
          running.add(seen.joined);
        }
        if (random() < 0.1) {
          const [id] = running;
          if (id !== undefined) {
            engine.remove(id);
            running.delete(id);
            seen.cancelled += 1;
          }
        }
        if (engine.rows > 0) for (const outcome of engine.step()) end(outcome);
        engine.checkIntegrity();
        if (turn % 50 === 0) await engine.keepCached();
        if (turn % 10 === 0) await Bun.sleep(0);
      }
      await files.settled();
      const { free, cached, referenced } = engine.blocks;
      expect([free + cached, referenced, running.size]).toEqual([BLOCKS, 0, 0]);
      expect(arrayCounts()).toEqual({ alive: resident, caught: before.caught });
    }
    expect(arrayCounts()).toEqual(before);
    expect(seen.finished + seen.cancelled + seen.failed).toBe(seen.joined);
    for (const [what, count] of Object.entries(seen)) expect([what, count > 10]).toEqual([what, true]);
  },
  30_000,
);

function words(random: () => number, count: number): number[] {
  return Array.from({ length: count }, () => integer(random, 0, 255));
}
