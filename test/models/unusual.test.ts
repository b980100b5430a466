/** Configs that say what is rare, or what is common in other words, against mlx-lm. */

import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModel } from "../../src/models/load.ts";
import "../open-mlx.ts";
import { python } from "../python.ts";
import type { Expected } from "./fixtures.ts";
import { lastLogits } from "./greedy.ts";

// Of logits of the order of ten, summed in another order.
const LOGIT_TOLERANCE = 2e-3;

const FOLDER = mkdtempSync(join(tmpdir(), "bunsen-"));
python("test/models/unusual.py", FOLDER);

/** A copy whose config says this besides. */
function saying(name: string, more: Record<string, unknown>): string {
  const folder = join(FOLDER, name);
  const copy = mkdtempSync(join(tmpdir(), "bunsen-"));
  cpSync(folder, copy, { recursive: true });
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  writeFileSync(join(copy, "config.json"), JSON.stringify({ ...config, ...more }));
  return copy;
}

afterAll(() => rmSync(FOLDER, { recursive: true }));

test.each(readdirSync(FOLDER))("%s are as in mlx-lm", (name) => {
  const folder = join(FOLDER, name);
  const [expected]: Expected[] = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^model(?:-00001-of-\d+)?\.gguf$/.test(each));
  using model = loadModel(join(folder, file ?? ""));
  const found = lastLogits(model, expected?.prompt_ids ?? []);
  const worst = Math.max(...found.map((value, index) => Math.abs(value - (expected?.logits[index] ?? Number.NaN))));
  expect(worst).toBeLessThan(LOGIT_TOLERANCE);
});

test("a cap that is null caps nothing", () => {
  const prompt_ids = [1, 17, 43, 99];
  using capped = loadModel(join(FOLDER, "caps-of-gemma2"));
  using uncapped = loadModel(saying("caps-of-gemma2", { final_logit_softcapping: null }));
  const found = lastLogits(uncapped, prompt_ids);
  const squashed = [...found].map((logit) => 30 * Math.tanh(logit / 30));
  const expected = lastLogits(capped, prompt_ids);
  expect(Math.max(...squashed.map((logit, at) => Math.abs(logit - (expected[at] ?? Number.NaN))))).toBeLessThan(1e-4);
  expect(Math.max(...found.map((logit, at) => Math.abs(logit - (expected[at] ?? 0))))).toBeGreaterThan(0.01);
});

test("in Qwen3-MoE every layer sees the window", () => {
  using model = loadModel(saying("experts-of-qwen3_moe", { use_sliding_window: true, sliding_window: 24 }));
  expect(model.cache_shape.windows).toEqual([24, 24, 24, 24]);
});
