/** What becomes of the rows of a step that fails, on a real tiny model. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { Engine } from "../../src/engine/engine.ts";
import { toUint32 } from "../../src/mlx/array.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { integer, seeded } from "../random.ts";
import { GREEDY_ROW } from "./greedy-row.ts";

const POISON = 250;
let model: Model;

beforeAll(() => {
  prepareFixtures();
  model = loadModel(fixture("untied").path);
}, 120_000);

afterAll(() => model[Symbol.dispose]());

/** Runs all prompts together until nothing is left. */
function run(prompts: readonly (readonly number[])[], fails: (token_ids: Uint32Array) => boolean) {
  const faulty: Model = {
    ...model,
    forward(token_ids, step) {
      const hidden = model.forward(token_ids, step);
      if (!fails(toUint32(token_ids))) return hidden;
      hidden[Symbol.dispose]();
      throw new Error("the device failed");
    },
  };
  using engine = new Engine(faulty, ENGINE_SETTINGS, () => performance.now());
  const free = engine.blocks.free;
  const answers = prompts.map((): number[] => []);
  const failures = new Map<number, string>();
  for (const [id, prompt_ids] of prompts.entries())
    engine.add({ ...GREEDY_ROW, id, prompt_ids, tokens_max: 8, stop_token_ids: [POISON] });
  while (engine.rows > 0) {
    for (const outcome of engine.step()) {
      if (outcome.kind === "failed") failures.set(outcome.id, `${outcome.failure.kind}: ${outcome.failure.message}`);
      else answers[outcome.id]?.push(...outcome.token_ids);
    }
    engine.checkIntegrity();
  }
  const { free: left, cached, referenced } = engine.blocks;
  expect([left + cached, referenced]).toEqual([free, 0]);
  return { answers, failures };
}

const NOTHING = () => false;

test.each([1, 2, 3])(
  "rows that break every step they are in fail alone; the others answer as ever (seed %d)",
  (seed) => {
    const random = seeded(seed);
    const prompts = Array.from({ length: 13 }, () =>
      Array.from({ length: integer(random, 1, 90) }, () => integer(random, 0, POISON - 1)),
    );
    const guilty = [2, integer(random, 5, 12)];
    for (const row of guilty) prompts[row]?.splice(0, 1, POISON);
    const alone = run(prompts, NOTHING).answers;
    const { answers, failures } = run(prompts, (token_ids) => token_ids.includes(POISON));
    expect([...failures.keys()].sort((left, right) => left - right)).toEqual(
      guilty.sort((left, right) => left - right),
    );
    expect(new Set(failures.values())).toEqual(new Set(["engine: the device failed"]));
    for (const row of prompts.keys()) expect(answers[row]).toEqual(guilty.includes(row) ? [] : alone[row]);
  },
);

test("a pass that fails once costs nobody its answer", () => {
  const prompts = [[1, 2, 3], [4, 5, 6], [7]];
  let passes = 0;
  const { answers, failures } = run(prompts, () => ++passes === 4);
  expect(failures.size).toBe(0);
  expect(answers).toEqual(run(prompts, NOTHING).answers);
});

test("when every pass of a step fails all its rows do, and the engine goes on with the next", () => {
  const { failures } = run([[1, 2, 3], [4, 5, 6], [7]], () => true);
  expect([...failures.keys()].sort()).toEqual([0, 1, 2]);
});

test("a row that leaves while its prompt is read gives its blocks back at once", () => {
  using engine = new Engine(model, { ...ENGINE_SETTINGS, chunk_tokens_max: 32 }, () => performance.now());
  const { free } = engine.blocks;
  const prompt_ids = Array.from({ length: 200 }, (_, index) => index);
  engine.add({ ...GREEDY_ROW, id: 1, prompt_ids, tokens_max: 8 });
  for (let count = 0; count < 2; count++) expect(engine.step()).toMatchObject([{ token_ids: [] }]);
  expect(engine.blocks.referenced).toBeGreaterThan(0);
  engine.remove(1);
  expect(engine.rows).toBe(0);
  expect(engine.blocks).toEqual({ free: free - 2, cached: 2, referenced: 0 });
});
