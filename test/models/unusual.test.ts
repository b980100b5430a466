/** Configs that say what is rare, or what is common in other words, against mlx-lm. */

import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
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

afterAll(() => rmSync(FOLDER, { recursive: true }));

test.each(readdirSync(FOLDER))("%s are as in mlx-lm", (name) => {
  const folder = join(FOLDER, name);
  const [expected]: Expected[] = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  const file = join(folder, "model.gguf");
  using model = loadModel(existsSync(file) ? file : folder);
  const found = lastLogits(model, expected?.prompt_ids ?? []);
  const worst = Math.max(...found.map((value, index) => Math.abs(value - (expected?.logits[index] ?? Number.NaN))));
  expect(worst).toBeLessThan(LOGIT_TOLERANCE);
});
