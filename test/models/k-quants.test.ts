/** Models of ggml's K blocks and five-bit blocks against mlx-lm on the very same weights. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readCard } from "../../src/card.ts";
import { arrayCounts } from "../../src/mlx/array.ts";
import { loadModel } from "../../src/models/load.ts";
import { scratchFolder } from "../formats/scratch.ts";
import "../open-mlx.ts";
import { python } from "../python.ts";
import type { Expected } from "./fixtures.ts";
import { greedy, lastLogits } from "./greedy.ts";

const OUT = scratchFolder();
const WHOLE = ["Q5_0", "Q5_1", "Q4_K", "Q5_K", "IQ4_NL", "IQ4_XS"];
const ROUNDED = ["Q2_K", "Q3_K", "Q6_K"];

// Of the greatest logit, summed in another order.
const LOGIT_TOLERANCE = 2e-4;
// Below this the two best tokens are one to float32 rounding.
const EXCUSED_GAP = 0.01;

beforeAll(() => {
  python("test/models/k-quants.py", OUT);
}, 60_000);

afterAll(() => {
  expect(arrayCounts().alive).toBe(0);
});

test.each([...WHOLE, ...ROUNDED])("%s gives mlx-lm's logits and tokens", (type) => {
  const expected: Expected = JSON.parse(readFileSync(join(OUT, `${type}.json`), "utf8"));
  using model = loadModel(join(OUT, `${type}.gguf`));
  const found = lastLogits(model, expected.prompt_ids);
  const worst = Math.max(...found.map((value, token) => Math.abs(value - (expected.logits[token] ?? Number.NaN))));
  expect(worst).toBeLessThan(LOGIT_TOLERANCE * Math.max(...expected.logits.map(Math.abs)));
  const drawn = greedy(model, expected.prompt_ids, expected.token_ids.length, 512);
  const differing = drawn.findIndex((token, step) => token !== expected.token_ids[step]);
  if (differing >= 0) expect(expected.gaps[differing]).toBeLessThan(EXCUSED_GAP);
});

test("the card says which weights are rounded once more, and of the others nothing", () => {
  const notes = (type: string) => readCard(join(OUT, `${type}.gguf`), 32).notes;
  for (const type of ROUNDED) {
    expect(notes(type)).toEqual([`its ${type} weights are kept in 8-bit groups of 32, rounded once more`]);
  }
  for (const type of WHOLE) expect(notes(type)).toEqual([]);
});
