/** Attention over keys and values in 8 and 4 bits: the same in one operation as composed of ordinary ones. */

import { afterAll, describe, expect, test } from "bun:test";
import { openExtras } from "../../src/mlx/extras.ts";
import { loadModel } from "../../src/models/load.ts";
import { familyFixture, prepareFixtures } from "../models/fixtures.ts";
import { lastLogits } from "../models/greedy.ts";
import { LIBRARY, WITH_EXTRAS } from "../open-mlx.ts";

// The same sums in another order, and now and then a number that is rounded to its other neighbour for it.
const TOLERANCE = 0.01;

prepareFixtures();

afterAll(() => openExtras(LIBRARY, WITH_EXTRAS));

describe.if(process.platform === "linux" && WITH_EXTRAS).each([8, 4] as const)("in %d bits", (bits) => {
  test.each(["qwen3", "gemma2", "gemma3_text", "gpt_oss"])("%s gives the same logits", (name) => {
    const { path, expected } = familyFixture(name);
    const logitsOf = (extras: boolean) => {
      openExtras(LIBRARY, extras);
      using model = loadModel(path);
      return expected.map(({ prompt_ids }) => lastLogits(model, prompt_ids, bits));
    };
    const [fused, composed] = [logitsOf(true), logitsOf(false)];
    for (const [index, logits] of composed.entries()) {
      const greatest = Math.max(...logits.map(Math.abs));
      const away = logits.map((logit, place) => Math.abs(logit - (fused[index]?.[place] ?? Number.NaN)));
      expect(Math.max(...away) / greatest).toBeLessThan(TOLERANCE);
    }
  });
});
