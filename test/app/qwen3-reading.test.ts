/** Folders as Qwen3-Embedding and Qwen3-Reranker are published, from text to numbers, against mlx-lm on the same weights. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type App, buildApp } from "../../src/app.ts";
import { readConfig } from "../../src/config.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { python } from "../python.ts";

interface Said {
  readonly texts: readonly { readonly text: string; readonly token_ids: number[]; readonly vector: number[] }[];
  readonly pairs: readonly { readonly query: string; readonly document: string; readonly score: number }[];
}

const OUT = scratchFolder();
const QUERY_PROMPT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";
const NEVER = new AbortController().signal;
const NOTHING = { request_id: "req_1", prompt_name: null, tokens_max: null, truncate: true, keep_s: null, user: null };

let app: App;
let said: Said;

beforeAll(async () => {
  python("test/models/reading-folders.py", OUT);
  said = JSON.parse(readFileSync(join(OUT, "expected.json"), "utf8"));
  const models = ["embedding", "reranker", "reranker-modules"].map((name) => join(OUT, name));
  app = await buildApp(readConfig({ config_file: null, settings: {} }, { HOME: join(OUT, "home") }), models);
}, 60_000);

afterAll(async () => await app[Symbol.asyncDispose]());

test("texts end with the token that the tokenizer adds, and its state is their vector", async () => {
  const inputs = said.texts.map(({ text }) => text);
  const { vectors, prompt_tokens } = await app.backend.embed(
    { ...NOTHING, model: "embedding", inputs, dimensions: null },
    NEVER,
  );
  expect(prompt_tokens).toBe(said.texts.reduce((sum, { token_ids }) => sum + token_ids.length, 0));
  for (const [index, { vector }] of said.texts.entries()) {
    const found = vectors[index] ?? [];
    expect(Math.max(...vector.map((value, place) => Math.abs(value - (found[place] ?? Number.NaN))))).toBeLessThan(
      1e-4,
    );
  }
});

test("a prompt that is named stands before each text, and one that is not there is refused by those that are", async () => {
  const embed = async (input: string, prompt_name: string | null) => {
    const asked = { ...NOTHING, model: "embedding", inputs: [input], dimensions: null, prompt_name };
    return Array.from((await app.backend.embed(asked, NEVER)).vectors[0] ?? []);
  };
  const [named, written] = [await embed("the river", "query"), await embed(`${QUERY_PROMPT}the river`, null)];
  expect(named).toEqual(written);
  expect(named).not.toEqual(await embed("the river", null));
  for (const name of ["passage", "constructor"]) {
    await expect(embed("the river", name)).rejects.toThrow(
      `Cannot use "prompt_name": the files of "embedding" have no prompt "${name}", known: query, document`,
    );
  }
});

test.each(["reranker", "reranker-modules"])("%s scores a pair by its yes and no", async (model) => {
  const pairs = said.pairs.map(({ query, document }) => [query, document] as const);
  const { scores } = await app.backend.rerank({ request_id: "req_1", model, pairs }, NEVER);
  for (const [index, { score }] of said.pairs.entries()) expect(scores[index]).toBeCloseTo(score, 4);
});
