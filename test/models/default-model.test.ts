/** The default model's own words against mlx-lm's, on the same weights in float32. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { startTextWorker } from "../../src/text/client.ts";
import { userSays } from "../text/plain-chat.ts";
import "../open-mlx.ts";
import { python } from "../python.ts";
import { ROOT } from "../root.ts";
import { greedy } from "./greedy.ts";

const PATH = join(ROOT, "build/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
const WORK = join(ROOT, "build/teacher");
const TOKENS = 64;
// Below this the two best tokens are one to float32 rounding, and either may be drawn.
const EXCUSED = 0.01;

const PROMPTS = [
  "What is the capital of France?",
  "Write a haiku about the sea.",
  "Explain photosynthesis to a child.",
  "List three prime numbers above 100.",
  "Translate 'good morning' into Spanish.",
  "def fibonacci(n):",
  "Why is the sky blue?",
  "Give me a recipe for pancakes.",
  "Who wrote Pride and Prejudice?",
  "Summarise the plot of Hamlet in one sentence.",
  "What is 17 times 23?",
  "Name the planets of the solar system.",
  "¿Dónde está la biblioteca?",
  "Write an SQL query that counts users by country.",
  "What are the side effects of too much coffee?",
  "Tell me a joke about computers.",
  "How do I sort a list in Python?",
  "Describe a sunset without using colours.",
  "What happened in 1969?",
  "日本の首都はどこですか？",
];

let model: Model;
const text = startTextWorker(join(ROOT, "src/text/main.ts"));

beforeAll(() => {
  model = loadModel(PATH);
});

afterAll(() => {
  model[Symbol.dispose]();
  text.close();
});

test("20 greedy answers of 64 tokens are those of mlx-lm", async () => {
  const cases: { prompt_ids: number[]; token_ids: number[] }[] = [];
  for (const content of PROMPTS) {
    const { token_ids: prompt_ids } = await text.encodeChat(PATH, userSays(content));
    cases.push({ prompt_ids, token_ids: greedy(model, prompt_ids, TOKENS, 64) });
  }
  mkdirSync(WORK, { recursive: true });
  writeFileSync(join(WORK, "cases.json"), JSON.stringify(cases));
  const said = python("test/models/teacher.py", PATH, WORK);
  const answers: { best_ids: number[]; above: number[] }[] = JSON.parse(said);
  const steps = answers.flatMap(({ best_ids, above }, index) =>
    best_ids.map((best, step) => ({ same: best === cases[index]?.token_ids[step], above: above[step] ?? 1 })),
  );
  const differing = steps.filter(({ same }) => !same);
  const excused = differing.filter(({ above }) => above < EXCUSED);
  console.log(`${steps.length} steps, ${differing.length} differ, ${excused.length} of them excused`);
  expect(steps.length).toBe(PROMPTS.length * TOKENS);
  expect(differing.length).toBe(excused.length);
}, 600_000);
