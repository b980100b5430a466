/** What is true of models with recurrent layers beside their tokens and logits: what adapts them. */

import { beforeAll, expect, test } from "bun:test";
import { loadModel } from "../../src/models/load.ts";
import "../open-mlx.ts";
import { familyFixture, prepareFixtures } from "./fixtures.ts";

beforeAll(prepareFixtures, 300_000);

test("projections that are taken apart by rows take no adapter, the others do", () => {
  using model = loadModel(familyFixture("qwen3_next").path);
  const names = new Set(model.targets.map(({ name }) => name.replace(/^model\.layers\.\d+\./, "")));
  expect(names).toContain("linear_attn.out_proj");
  expect(names).toContain("self_attn.k_proj");
  for (const taken of ["self_attn.q_proj", "linear_attn.in_proj_qkvz", "linear_attn.in_proj_ba"])
    expect(names).not.toContain(taken);
});
