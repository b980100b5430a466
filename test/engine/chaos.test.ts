/** Rows that join, leave and fail at random on a real model, over a cache too small for them and a disk under them. */

import { beforeAll, expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { PLAIN_SAMPLING } from "../../src/core/generation.ts";
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
import { GREEDY_ROW } from "./greedy-row.ts";

const SCRATCH = scratchFolder();
const BLOCKS = 24;
const TURNS = 1500;
const ROWS_MAX = 12;

beforeAll(prepareFixtures, 120_000);

class Chaos {
  readonly #random: () => number;
  readonly #engine: Engine;
  readonly #prefixes: readonly number[][];
  readonly #running = new Set<number>();
  readonly seen = { joined: 0, cancelled: 0, failed: 0, finished: 0, cached_tokens: 0 };

  constructor(engine: Engine, random: () => number) {
    this.#random = random;
    this.#engine = engine;
    this.#prefixes = Array.from({ length: 12 }, () => this.#words(integer(random, 10, 200)));
  }

  async run(): Promise<void> {
    for (let turn = 0; turn < TURNS || this.#engine.rows > 0; turn++) {
      if (turn < TURNS && this.#random() < 0.4) this.#join();
      if (this.#random() < 0.1) this.#cancel();
      if (this.#engine.rows > 0) this.#note(this.#engine.step());
      this.#engine.checkIntegrity();
      if (turn % 50 === 0) await this.#engine.keepCached();
      if (turn % 10 === 0) await Bun.sleep(0); // files are written meanwhile
    }
  }

  #join(): void {
    if (this.#running.size >= ROWS_MAX) return;
    const id = ++this.seen.joined;
    const prefix = this.#prefixes[integer(this.#random, 0, this.#prefixes.length - 1)] ?? [];
    const prompt_ids = [...prefix, ...this.#words(integer(this.#random, 1, 60))];
    const temperature = this.#random() < 0.5 ? 0 : 1;
    const sampling = { ...PLAIN_SAMPLING, temperature, presence_penalty: id % 3, top_k: id % 4, seed: id };
    const tokens_max = integer(this.#random, 1, 60);
    const prompt_logprobs = this.#random() < 0.2;
    this.#engine.add({ ...GREEDY_ROW, id, prompt_ids, sampling, tokens_max, stop_token_ids: [0], prompt_logprobs });
    this.#running.add(id);
  }

  #cancel(): void {
    const [id] = this.#running;
    if (id === undefined) return;
    this.#engine.remove(id);
    this.#running.delete(id);
    this.seen.cancelled += 1;
  }

  #note(outcomes: readonly RowOutcome[]): void {
    for (const outcome of outcomes) {
      if (outcome.kind === "progress" && outcome.finish === null) continue;
      this.#running.delete(outcome.id);
      if (outcome.kind === "failed") this.seen.failed += 1;
      else this.seen.finished += 1;
      this.seen.cached_tokens += outcome.kind === "failed" ? 0 : outcome.cached_tokens;
    }
  }

  #words(count: number): number[] {
    return Array.from({ length: count }, () => integer(this.#random, 0, 255));
  }
}

/** Now and then a pass fails, alone or with some after it, as when the device has no memory left. */
function failing(model: Model, fails: () => boolean): Model {
  return {
    ...model,
    forward(token_ids, step) {
      if (fails()) throw new Error("the device failed");
      return model.forward(token_ids, step);
    },
  };
}

const FACT =
  "%s, in %d bits: after joins, cancels and failed steps every block is free or cached, and no array is left";

test.each([
  ["untied", 32, 1],
  ["untied", 32, 2],
  ["family-gemma3_text", 8, 3],
] as const)(
  `${FACT} (seed %d)`,
  async (name, kv_bits, seed) => {
    const random = seeded(seed);
    const before = arrayCounts();
    {
      using model = loadModel(fixture(name).path);
      const files = new BlockFiles(mkdtempSync(join(SCRATCH, "chaos-")), 2 ** 20, Date.now);
      const settings = {
        ...ENGINE_SETTINGS,
        kv_bits,
        kv_bytes_max: BLOCKS * blockBytes(model.cache_shape, kv_bits),
        draft_tokens_max: 8,
      };
      let failures = 0;
      const faulty = failing(model, () => {
        if (failures === 0 && random() < 0.01) failures = integer(random, 1, 10);
        return failures > 0 && failures-- > 0;
      });
      using engine = new Engine(faulty, settings, () => performance.now(), { files, key: "chaos" });
      const resident = arrayCounts().alive;
      const blocks = engine.blocks.free;
      const chaos = new Chaos(engine, random);
      await chaos.run();
      const { free, cached, referenced } = engine.blocks;
      expect([free + cached, referenced]).toEqual([blocks, 0]);
      expect(arrayCounts()).toEqual({ alive: resident, caught: before.caught });
      const { joined, finished, cancelled, failed } = chaos.seen;
      expect(finished + cancelled + failed).toBe(joined);
      for (const [what, count] of Object.entries(chaos.seen)) expect([what, count > 10]).toEqual([what, true]);
    }
    expect(arrayCounts()).toEqual(before);
  },
  60_000,
);

test("a model may go while its cache is brought to the disk", async () => {
  const before = arrayCounts();
  {
    using model = loadModel(fixture("untied").path);
    const files = new BlockFiles(mkdtempSync(join(SCRATCH, "going-")), 2 ** 20, Date.now);
    using engine = new Engine(model, ENGINE_SETTINGS, () => performance.now(), { files, key: "going" });
    const prompt_ids = Array.from({ length: 100 }, (_, index) => index);
    engine.add({ ...GREEDY_ROW, id: 1, prompt_ids, tokens_max: 1 });
    while (engine.rows > 0) engine.step();
    const kept = engine.keepCached();
    engine[Symbol.dispose]();
    await kept;
  }
  expect(arrayCounts()).toEqual(before);
});
