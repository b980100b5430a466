/** Every family against mlx-lm: alone, among others, after a prefix was found, in odd chunks, beyond the window; in float32 and 4 bits. */

import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { EngineSettings } from "../../src/core/settings.ts";
import { Engine } from "../../src/engine/engine.ts";
import { arrayCounts } from "../../src/mlx/array.ts";
import { hasExtras } from "../../src/mlx/extras.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { GREEDY_ROW } from "../engine/greedy-row.ts";
import { fallbacks } from "../native/arrays.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { type Expected, FIXTURES, familyFixture, prepareFixtures } from "./fixtures.ts";
import { lastLogits } from "./greedy.ts";

// Below this the two best tokens are one to float32 rounding, and either may be drawn.
const EXCUSED_GAP = 0.01;
// Of logits of the order of ten, summed in another order.
const LOGIT_TOLERANCE = 2e-3;
const ROWS = 8;

afterAll(() => {
  expect(arrayCounts().alive).toBe(0);
});

function start(model: Model, settings: Partial<EngineSettings> = {}): Engine {
  return new Engine(model, { ...ENGINE_SETTINGS, kv_bytes_max: 2 ** 26, ...settings }, () => performance.now());
}

/** One joins every other step. */
function answer(engine: Engine, prompts: readonly (readonly number[])[], tokens_max: number) {
  const token_ids: number[][] = prompts.map(() => []);
  let cached_tokens = 0;
  const waiting = [...prompts.entries()];
  for (let step = 0; waiting.length > 0 || engine.rows > 0; step++) {
    const [id, prompt_ids] = (step % 2 === 0 && waiting.shift()) || [0, null];
    if (prompt_ids !== null) engine.add({ ...GREEDY_ROW, id, prompt_ids, tokens_max });
    for (const outcome of progressOf(engine)) {
      token_ids[outcome.id]?.push(...outcome.token_ids);
      if (outcome.finish !== null) cached_tokens += outcome.cached_tokens;
    }
  }
  return { token_ids, cached_tokens };
}

function progressOf(engine: Engine) {
  return engine.step().map((outcome) => {
    if (outcome.kind === "failed") throw new Error(outcome.failure.message);
    return outcome;
  });
}

/** Up to the first step where the choice is a matter of rounding. */
function expectSame(drawn: readonly number[] | undefined, { token_ids, gaps }: Expected): void {
  const differing = token_ids.findIndex((token, step) => token !== drawn?.[step]);
  if (differing >= 0) expect(gaps[differing]).toBeLessThan(EXCUSED_GAP);
  expect(drawn?.length).toBe(token_ids.length);
}

prepareFixtures();
const NAMES = readdirSync(FIXTURES).flatMap((name) => /^family-(.*)$/.exec(name)?.[1] ?? []);

describe.each(NAMES)("%s", (name) => {
  const { path, expected } = familyFixture(name);
  const prompts = expected.map((each) => each.prompt_ids);
  const tokens_max = expected[0]?.token_ids.length ?? 0;

  test("gives mlx-lm's logits for a prompt, and no operation is left without its kernel", () => {
    const before = fallbacks();
    using model = loadModel(path);
    for (const { prompt_ids, logits } of expected) {
      const found = lastLogits(model, prompt_ids);
      const worst = Math.max(...found.map((value, index) => Math.abs(value - (logits[index] ?? Number.NaN))));
      expect(worst).toBeLessThan(LOGIT_TOLERANCE);
    }
    if (hasExtras()) expect(fallbacks()).toEqual(before);
  });

  test("gives mlx-lm's tokens alone, in chunks of 33 and of 45 too", () => {
    using model = loadModel(path);
    for (const chunk_tokens_max of [512, 33, 45]) {
      for (const each of expected) {
        using engine = start(model, { chunk_tokens_max });
        expectSame(answer(engine, [each.prompt_ids], tokens_max).token_ids[0], each);
      }
    }
  }, 60_000);

  test("gives them in each of eight rows, and again over what those left", () => {
    using model = loadModel(path);
    using engine = start(model, { rows_max: ROWS });
    const rows = [...expected, ...expected];
    const first = answer(engine, [...prompts, ...prompts], tokens_max);
    const again = answer(engine, prompts, tokens_max);
    for (const [index, each] of rows.entries()) expectSame(first.token_ids[index], each);
    for (const [index, each] of expected.entries()) expectSame(again.token_ids[index], each);
    expect(again.cached_tokens).toBeGreaterThan(0);
  });
});
