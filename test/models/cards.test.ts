/** What the card of each family says from headers alone is what its model then has, in every form of its files. */

import { beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { readCard } from "../../src/card.ts";
import { blockBytes } from "../../src/engine/kv-pool.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import { stateBytes } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import "../open-mlx.ts";
import { FIXTURES, familyFixture, prepareFixtures } from "./fixtures.ts";

beforeAll(prepareFixtures, 300_000);

test("context, cache and window are the model's, and 4 bits hold as many weights as floats", () => {
  const names = readdirSync(FIXTURES).flatMap((name) => /^family-(.*)$/.exec(name)?.[1] ?? []);
  expect(names.length).toBeGreaterThan(60);
  for (const name of names) {
    const { path } = familyFixture(name);
    const { context_length, cache, parameters, not_supported, family } = readCard(path, 32);
    using model = loadModel(path);
    const widest = Math.max(...(model.cache_shape.windows ?? []).map((each) => each ?? 0), 0);
    const window = widest === 0 || widest >= model.context_length ? null : widest; // one as long as all sees all
    const { bytes_per_token, bytes_per_text } = cache;
    expect({ name, context_length, bytes_per_token, bytes_per_text, window: cache.window }).toEqual({
      name,
      context_length: model.context_length,
      bytes_per_token: blockBytes(model.cache_shape) / BLOCK_TOKENS,
      bytes_per_text: stateBytes(model.state_shapes),
      window,
    });
    expect(not_supported.filter((why) => !why.includes("tokenizer"))).toEqual([]);
    expect(family).toStartWith(name.replace(/-.*$/, ""));
    if (name.endsWith("-4bit")) {
      expect(parameters).toBe(readCard(familyFixture(name.slice(0, -"-4bit".length)).path, 32).parameters);
    }
  }
}, 60_000);

test("a context that ends before longer factors of positions would begin is told", () => {
  const { notes } = readCard(familyFixture("phi3").path, 32);
  expect(notes).toEqual(["its 512 tokens end here where its factors of positions for longer texts would begin"]);
});
