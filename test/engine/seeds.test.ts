/** What a row draws hangs on its own wishes and its seed alone: not on who is beside it, nor on guesses. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { PLAIN_SAMPLING, type Predicted, type Sampling } from "../../src/core/generation.ts";
import { Engine, type NewRow } from "../../src/engine/engine.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { GREEDY_ROW } from "./greedy-row.ts";

const TOKENS = 60;
// The tiny model never repeats itself, unless it is rewarded: then guesses are made, and most are right.
const SAMPLINGS: readonly Partial<Sampling>[] = [
  { temperature: 0 },
  { temperature: 0, frequency_penalty: -2 },
  { temperature: 0, repetition_penalty: 0.5, penalty_window: 6 },
  { temperature: 0.7, frequency_penalty: -2, presence_penalty: 0.5 },
  { temperature: 0.7, frequency_penalty: -2, top_k: 3, xtc_probability: 0.3, xtc_threshold: 0.1 },
  { temperature: 1, repetition_penalty: 0.4, penalty_window: 9, top_p: 0.9 },
  { temperature: 1, frequency_penalty: -1.5, penalty_window: 20, min_p: 0.1 },
  { temperature: 1, presence_penalty: -9, typical_p: 0.6 },
  { temperature: 0.8, logit_bias: [5, 9].map((token_id) => ({ token_id, bias: 100 })) },
  { temperature: 1 },
];

let model: Model;
let rows: readonly NewRow[];

beforeAll(() => {
  prepareFixtures();
  model = loadModel(fixture("untied").path);
  rows = SAMPLINGS.map((sampling, id) => ({
    ...GREEDY_ROW,
    id,
    prompt_ids: Array.from({ length: 24 + id }, (_, place) => [5, 9][place % 2] ?? 0),
    sampling: { ...PLAIN_SAMPLING, seed: 1000 + id, ...sampling },
    logprobs: id % 3 === 0 ? 2 : null,
    tokens_min: id % 2,
    stop_token_ids: [0],
    tokens_max: TOKENS,
  }));
}, 120_000);

afterAll(() => model[Symbol.dispose]());

interface Answered {
  readonly token_ids: readonly number[];
  /** In place of numbers that differ in their last digits between one row and several. */
  readonly logprobs: readonly (readonly [number, number])[];
}

/** Answers by row; `steps` in which a row drew. */
interface Run {
  readonly answers: Answered[];
  readonly steps: number;
  readonly predicted: Predicted | undefined;
}

function answer(asked: readonly NewRow[], draft_tokens_max: number): Run {
  let now_ms = 0; // each step takes as long, however many tokens it verifies
  using engine = new Engine(model, { ...ENGINE_SETTINGS, draft_tokens_max }, () => ++now_ms);
  const answers = new Map(
    asked.map(({ id }) => [id, { token_ids: [] as number[], logprobs: [] as [number, number][] }]),
  );
  for (const row of asked) engine.add(row);
  let steps = 0;
  let predicted: Predicted | undefined;
  while (engine.rows > 0) {
    for (const outcome of engine.step()) {
      if (outcome.kind === "failed") throw new Error(outcome.failure.message);
      if (outcome.token_ids.length > 0) steps += 1;
      predicted = outcome.predicted ?? predicted;
      answers.get(outcome.id)?.token_ids.push(...outcome.token_ids);
      const told = outcome.logprobs.map(({ token_id, logprob }): [number, number] => [
        token_id,
        Math.round(logprob * 100),
      ]);
      answers.get(outcome.id)?.logprobs.push(...told);
    }
  }
  return { answers: [...answers.values()], steps, predicted };
}

test("a row draws the same alone, among others, and with guesses", () => {
  const alone = rows.map((row) => answer([row], 0));
  const drawn = alone.flatMap(({ answers }) => answers);
  expect(answer(rows, 0).answers).toEqual(drawn);
  expect(answer(rows, 4).answers).toEqual(drawn);
  const guessed = rows.map((row) => answer([row], 4));
  expect(guessed.flatMap(({ answers }) => answers)).toEqual(drawn);
  const faster = rows.filter((_, id) => (guessed[id]?.steps ?? 0) < 0.5 * (alone[id]?.steps ?? 0));
  expect(faster.length).toBeGreaterThan(3);
});

test("a row draws the same whatever its caller predicts, and sooner where that is right", () => {
  const [row] = rows.slice(9);
  if (row === undefined) throw new Error("there is no such row");
  const alone = answer([row], 0);
  const right = answer([{ ...row, predicted_ids: alone.answers[0]?.token_ids ?? [] }], 0);
  const wrong = answer(
    [{ ...row, predicted_ids: Array.from({ length: 90 }, (_, place) => [5, 9, 5, 5][place % 4] ?? 0) }],
    0,
  );
  expect([right.answers, wrong.answers]).toEqual([alone.answers, alone.answers]);
  expect(right.steps).toBeLessThan(0.5 * alone.steps);
  const tokens = alone.answers[0]?.token_ids.length ?? 0;
  expect(right.predicted?.accepted_tokens).toBeGreaterThan(0.5 * tokens);
  expect(right.predicted?.rejected_tokens).toBe(0);
  expect(alone.predicted).toBeUndefined();
});

test("log probabilities are told of each token of the answer, and of no other", () => {
  for (const [id, { token_ids, logprobs }] of answer(rows, 4).answers.entries()) {
    expect(logprobs.map(([token]) => token)).toEqual(id % 3 === 0 ? [...token_ids] : []);
  }
});

test("another seed draws other tokens", () => {
  const other = (id: number) =>
    rows.flatMap((row) => (row.id === id ? [{ ...row, sampling: { ...row.sampling, seed: 1 } }] : []));
  expect(answer(other(9), 0).answers).not.toEqual([answer(rows.slice(9, 10), 0).answers[0] as Answered]);
  expect(answer(other(1), 0).answers).toEqual([answer(rows.slice(1, 2), 0).answers[0] as Answered]);
});
