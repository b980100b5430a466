/** A prompt's tokens are the same alone, among others, after every kind of restore, in chunks of any size and with guesses. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { divideCache } from "../../src/core/cache-shares.ts";
import type { EngineSettings, KvBits } from "../../src/core/settings.ts";
import { BlockFiles } from "../../src/engine/block-files.ts";
import { blockKey } from "../../src/engine/disk-tier.ts";
import { Engine } from "../../src/engine/engine.ts";
import { blockBytes } from "../../src/engine/kv-pool.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import type { Model } from "../../src/models/family.ts";
import { stateBytes } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { startTextWorker } from "../../src/text/client.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { lastLogits } from "../models/greedy.ts";
import { ENGINE_SETTINGS, LIBRARY } from "../open-mlx.ts";
import { integer, seeded } from "../random.ts";
import { ROOT } from "../root.ts";
import { defaultModel } from "../text/default-model.ts";
import { plainChat } from "../text/plain-chat.ts";
import { GREEDY_ROW } from "./greedy-row.ts";

const SCRATCH = scratchFolder();
// Below this the two best tokens are one to float32 rounding, and either may be drawn.
const EXCUSED_GAP = 0.01;
const PROMPTS = 20;
const ROWS = 8;

interface Case {
  readonly path: string;
  readonly prompts: readonly (readonly number[])[];
  readonly tokens_max: number;
  readonly kv_bits: KvBits;
  /** Whether the answers repeat themselves or their prompts. */
  readonly repeats: boolean;
}

interface Answers {
  readonly token_ids: readonly number[][];
  readonly cached_tokens: number;
  readonly steps: number;
  /** Guessed tokens that were right. */
  readonly verified: number;
}

/** Prompts with a beginning in common, then their own. */
function tinyCase(name: string, how: Pick<Case, "kv_bits" | "repeats">): Case {
  const random = seeded(11);
  const words = (count: number) => Array.from({ length: count }, () => integer(random, 0, 255));
  const shared = words(75);
  const prompts = Array.from({ length: PROMPTS }, () => [...shared, ...words(integer(random, 1, 120))]);
  return { path: fixture(name).path, prompts, tokens_max: 60, ...how };
}

async function defaultCase(): Promise<Case> {
  const path = defaultModel();
  const text = startTextWorker(join(ROOT, "src/text/main.ts"));
  const rules = readFileSync(join(ROOT, "bunfig.toml"), "utf8").slice(0, 120);
  const words = ["sea", "sun", "list", "joke", "poem", "war", "tea", "cat", "moon", "king"];
  const questions = words.flatMap((word) => [
    `Tell me of the ${word}.`,
    `Write the ${word} ${"and the ".repeat(9)}${word}.`,
  ]);
  const prompts: number[][] = [];
  for (const content of questions) {
    const chat = plainChat([
      { role: "system", content: rules },
      { role: "user", content },
    ]);
    prompts.push((await text.encodeChat(path, chat)).token_ids);
  }
  text.close();
  return { path, prompts, tokens_max: 12, kv_bits: 32, repeats: true };
}

function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Answers all prompts: one joins every other step while fewer than `ROWS` run. */
function answer(engine: Engine, { prompts, tokens_max }: Case): Answers {
  const token_ids: number[][] = prompts.map(() => []);
  const cached = new Map<number, number>();
  let verified = 0;
  let steps = 0;
  for (const waiting = [...prompts.entries()]; waiting.length > 0 || engine.rows > 0; steps++) {
    const [id, prompt_ids] = (steps % 2 === 0 && engine.rows < ROWS ? waiting.shift() : null) ?? [0, null];
    if (prompt_ids !== null) engine.add({ ...GREEDY_ROW, id, prompt_ids, tokens_max });
    for (const outcome of step(engine)) {
      token_ids[outcome.id]?.push(...outcome.token_ids);
      cached.set(outcome.id, outcome.cached_tokens);
      verified += Math.max(0, outcome.token_ids.length - 1);
    }
    engine.checkIntegrity();
  }
  return { token_ids, cached_tokens: cached.values().reduce((sum, tokens) => sum + tokens, 0), steps, verified };
}

function step(engine: Engine) {
  const outcomes = engine.rows === 0 ? [] : engine.step();
  return outcomes.map((outcome) => {
    if (outcome.kind === "failed") throw new Error(outcome.failure.message);
    return outcome;
  });
}

for (const [name, build] of [
  ["a tiny model", async () => tinyCase("untied", { kv_bits: 32, repeats: false })],
  ["a tiny quantised model", async () => tinyCase("affine-4-32", { kv_bits: 32, repeats: false })],
  ["a tiny model with keys and values in 8 bits", async () => tinyCase("wide-heads", { kv_bits: 8, repeats: true })],
  ["a tiny model with keys and values in 4 bits", async () => tinyCase("wide-heads", { kv_bits: 4, repeats: true })],
  ["a tiny model of windows", async () => tinyCase("family-mistral", { kv_bits: 32, repeats: false })],
  ["a tiny model of windows and more", async () => tinyCase("family-gemma3_text", { kv_bits: 8, repeats: true })],
  ["a tiny model with short convolutions", async () => tinyCase("family-lfm2", { kv_bits: 32, repeats: false })],
  ["a tiny model with delta nets", async () => tinyCase("family-qwen3_next-4bit", { kv_bits: 8, repeats: false })],
  ["the default model", defaultCase],
] as const) {
  describe(name, () => {
    let asked: Case;
    let model: Model;
    let alone: readonly number[][];
    let excused = 0;

    beforeAll(async () => {
      prepareFixtures();
      asked = await build();
      model = loadModel(asked.path);
      alone = asked.prompts.flatMap((prompt) => {
        using engine = start();
        return answer(engine, { ...asked, prompts: [prompt] }).token_ids;
      });
    }, 300_000);

    afterAll(() => {
      model[Symbol.dispose]();
      console.log(`${name}: ${excused} answers of ${PROMPTS} times 7 part at a step that is excused`);
    });

    function start(settings: Partial<EngineSettings> = {}, folder: string | null = null, now = epochMs): Engine {
      const key = blockKey(asked.path, LIBRARY, "test", model.cache_shape, {
        ...ENGINE_SETTINGS,
        kv_bits: asked.kv_bits,
      });
      const disk = folder === null ? null : { files: new BlockFiles(folder, 2 ** 30, now), key };
      const { kv_bits } = asked;
      return new Engine(model, { ...ENGINE_SETTINGS, kv_bytes_max: 2 ** 28, kv_bits, ...settings }, now, disk);
    }

    /** Up to a step where the choice is a matter of rounding. */
    function expectSame({ token_ids }: Answers): void {
      for (const [index, drawn] of token_ids.entries()) {
        const expected = alone[index] ?? [];
        expect(drawn.length).toBe(asked.tokens_max);
        const step = drawn.findIndex((token, at) => token !== expected[at]);
        if (step < 0) continue;
        const logits = lastLogits(model, [...(asked.prompts[index] ?? []), ...drawn.slice(0, step)], asked.kv_bits);
        const gap = (logits[expected[step] ?? -1] ?? 0) - (logits[drawn[step] ?? -1] ?? 0);
        expect(Math.abs(gap)).toBeLessThan(EXCUSED_GAP);
        excused += 1;
      }
    }

    test("rows that join one after the other, and again over what they left in memory", () => {
      using engine = start();
      const first = answer(engine, asked);
      expectSame(first);
      const again = answer(engine, asked);
      expectSame(again);
      expect(again.cached_tokens).toBeGreaterThan(first.cached_tokens);
      expect(again.steps).toBeLessThanOrEqual(first.steps);
    }, 120_000);

    test("from disk, in another engine", async () => {
      const folder = mkdtempSync(join(SCRATCH, "disk-"));
      using first = start({}, folder);
      const cold = answer(first, asked);
      await first.keepCached();
      using second = start({}, folder);
      const warm = answer(second, asked);
      expectSame(warm);
      expect(warm.cached_tokens).toBeGreaterThan(cold.cached_tokens);
    }, 120_000);

    test("over memory for little more than one row, by way of the disk", () => {
      const longest = Math.max(...asked.prompts.map((prompt) => prompt.length)) + asked.tokens_max;
      const state_bytes = stateBytes(model.state_shapes);
      const units = { block_bytes: blockBytes(model.cache_shape, asked.kv_bits), state_bytes };
      const blocks = Math.ceil(longest / BLOCK_TOKENS) + 4;
      let kv_bytes_max = 0;
      while (divideCache(kv_bytes_max, units, ENGINE_SETTINGS.rows_max).blocks_max < blocks) kv_bytes_max += 1000;
      using engine = start({ kv_bytes_max }, mkdtempSync(join(SCRATCH, "small-")));
      expectSame(answer(engine, asked));
    }, 120_000);

    test.each([33, 77])(
      "prompts in chunks of at most %d",
      (chunk_tokens_max) => {
        using engine = start({ chunk_tokens_max, decode_gap_ms_target: 1 });
        expectSame(answer(engine, asked));
      },
      120_000,
    );

    test("guessed tokens that are verified", () => {
      let now_ms = 0;
      // Where every step takes a millisecond a guess costs nothing, so that there are many.
      using engine = start({ draft_tokens_max: 8 }, null, () => ++now_ms);
      const answers = answer(engine, asked);
      expectSame(answers);
      expect(answers.verified > 0).toBe(asked.repeats);
    }, 120_000);
  });
}
