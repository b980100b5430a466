/** Every form a model's files take, against mlx-lm on the same weights in float32. */

import { beforeAll, describe, expect, test } from "bun:test";
import { loadModel } from "../../src/models/load.ts";
import "../open-mlx.ts";
import { type Expected, fixture, prepareFixtures } from "./fixtures.ts";
import { expectAllGivenBack } from "./given-back.ts";
import { greedy, lastLogits } from "./greedy.ts";

// Below this the two best tokens are one to float32 rounding, and either may be drawn.
const EXCUSED_GAP = 0.01;

const NAMES = [
  ...["tied", "untied", "biases", "wide-heads", "sharded", "float16", "bfloat16"],
  ...["rope-linear", "rope-llama3", "rope-yarn"],
  ...["affine-2-32", "affine-3-32", "affine-4-32", "affine-4-64", "affine-5-32", "affine-6-64"],
  ...["affine-8-32", "affine-8-64", "affine-mixed", "mxfp4", "mxfp8", "nvfp4", "mixed-modes"],
  ...["gguf-F32", "gguf-F16", "gguf-BF16", "gguf-Q4_0", "gguf-Q4_1", "gguf-Q8_0", "gguf-rope-factors"],
];

beforeAll(prepareFixtures, 120_000);
expectAllGivenBack();

/** Up to the first step where the choice is a matter of rounding, the tokens are equal. */
function expectSame(drawn: readonly number[], expected: Expected): void {
  const differing = drawn.findIndex((token, step) => token !== expected.token_ids[step]);
  if (differing >= 0) expect(expected.gaps[differing]).toBeLessThan(EXCUSED_GAP);
  expect(drawn.length).toBe(expected.token_ids.length);
}

describe.each(NAMES)("%s", (name) => {
  test("gives mlx-lm's logits for a prompt", () => {
    const { path, expected } = fixture(name);
    using model = loadModel(path);
    const found = lastLogits(model, expected.prompt_ids);
    const worst = Math.max(...found.map((value, index) => Math.abs(value - (expected.logits[index] ?? Number.NaN))));
    expect(worst).toBeLessThan(2e-3);
  });

  test.each([512, 32])("gives mlx-lm's tokens with its prompt in chunks of %d", (chunk) => {
    const { path, expected } = fixture(name);
    using model = loadModel(path);
    expectSame(greedy(model, expected.prompt_ids, expected.token_ids.length, chunk), expected);
  });
});
