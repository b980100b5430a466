/** Settings of how the processor is used, observed in engines that are processes of their own. */

import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { startEngine } from "../../src/app.ts";
import type { EngineSettings } from "../../src/core/settings.ts";
import { EngineClient } from "../../src/worker/client.ts";
import type { EngineProcess } from "../../src/worker/process.ts";
import { GREEDY_ROW } from "../engine/greedy-row.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { engineParts } from "../open-mlx.ts";

const FOLDER = scratchFolder();
const MODELS = ["affine-4-32", "affine-4-64"] as const;
const PROMPTS = Array.from({ length: 8 }, (_, seed) =>
  Array.from({ length: 40 }, (_, at) => (at * 37 + seed * 101) % 256),
);

let client: EngineClient | null = null;

beforeAll(prepareFixtures, 120_000);

afterEach(async () => {
  await client?.close();
  client = null;
});

/** The tokens of two models that answer at once, and how many threads their engine has then. */
async function run(settings: Partial<EngineSettings>): Promise<{ token_ids: number[][]; threads: number }> {
  const port = startEngine("process") as EngineProcess;
  const started = new EngineClient(() => port, engineParts(FOLDER, { ...settings, kv_disk_bytes_max: 0 }));
  client = started;
  for (const model of MODELS) await started.load(model, fixture(model).path);
  const token_ids = await Promise.all(
    MODELS.flatMap((model) => PROMPTS.map((prompt_ids) => answer(started, model, prompt_ids))),
  );
  const tasks = readdirSync(`/proc/${port.pid}/task`).map((task) => `/proc/${port.pid}/task/${task}/comm`);
  const threads = tasks.filter((name) => readFileSync(name, "utf8").trim() === "bunsen").length;
  await started.close();
  return { token_ids, threads };
}

async function answer(started: EngineClient, model: string, prompt_ids: readonly number[]): Promise<number[]> {
  const row = { ...GREEDY_ROW, model, prompt_ids, tokens_max: 40, tokens: null };
  const all: number[] = [];
  for await (const { token_ids } of started.generate(row, new AbortController().signal)) all.push(...token_ids);
  return all;
}

describe.if(process.platform === "linux")("on Linux", () => {
  test("threads: so many compute, for however many models, and all give the same", async () => {
    const [one, four] = [await run({ threads: 1 }), await run({ threads: 4 })];
    expect([one.threads, four.threads]).toEqual([0, 3]); // beside the one that steps
    expect(four.token_ids).toEqual(one.token_ids);
  }, 60_000);

  const multiplies_bytes = /\bavx512_vnni\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
  test.if(multiplies_bytes && !process.env["BUNSEN_KERNELS"])(
    "precision: fast answers are others than exact ones",
    async () => {
      const [exact, fast] = [await run({ precision: "exact" }), await run({ precision: "fast" })];
      expect(fast.token_ids).not.toEqual(exact.token_ids);
    },
    60_000,
  );
});
