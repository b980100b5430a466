/** Embeddings, reranking and scores over HTTP: what the official client reads, and what is refused with which words. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import OpenAI from "openai";
import { type Listening, listen } from "../../src/http/listen.ts";
import { embeddingBodySchema } from "../../src/wire/openai-embeddings.ts";
import { rerankBodySchema, scoreBodySchema } from "../../src/wire/rerank.ts";
import { readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";

const backend = new ScriptedBackend();
const { app, post } = serverOf(backend);
let server: Listening;
let client: OpenAI;

beforeAll(() => {
  server = listen(app, { host: "127.0.0.1", port: 0 });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});

afterAll(async () => await server.stop());

describe("the official client", () => {
  test("reads vectors, which it asks for in base64", async () => {
    const { data, usage, model } = await client.embeddings.create({ model: "tiny", input: ["a", "b"] });
    expect(data.map(({ embedding }) => Array.from(embedding))).toEqual([
      [0, 0.5, -1],
      [1, 0.5, -1],
    ]);
    expect(data.map(({ index }) => index)).toEqual([0, 1]);
    expect([usage, model]).toEqual([{ prompt_tokens: 7, total_tokens: 7 }, "tiny"]);
  });

  test("sends token ids, dimensions and its user", async () => {
    const input = [
      [1, 2],
      [3, 4],
    ];
    await client.embeddings.create({ model: "tiny", input, dimensions: 2, user: "ada", encoding_format: "float" });
    const told = { inputs: input, dimensions: 2, user: "ada", truncate: true, prompt_name: null };
    expect(backend.embedded.at(-1)).toMatchObject(told);
  });

  test("sends the name of a prompt", async () => {
    await post("/v1/embeddings", { model: "tiny", input: "a", prompt_name: "query" });
    expect(backend.embedded.at(-1)).toMatchObject({ inputs: ["a"], prompt_name: "query" });
  });
});

interface Body {
  readonly data: readonly object[];
  readonly results: readonly object[];
  readonly usage: object;
  readonly meta: object;
  readonly created: number;
}

async function bodyOf(response: Response): Promise<Body> {
  expect(response.status).toBe(200);
  return (await response.json()) as Body;
}

const INPUTS: [string, unknown, unknown][] = [
  ["one text", "a", ["a"]],
  ["texts", ["a", "b"], ["a", "b"]],
  ["token ids", [1, 2, 3], [[1, 2, 3]]],
  ["lists of token ids", [[1], [2, 3]], [[1], [2, 3]]],
];

test.each(INPUTS)("an input may be %s", async (_, input, expected) => {
  const response = await post("/v1/embeddings", { model: "tiny", input, truncate: false });
  const body = await bodyOf(response);
  expect(Value.Check(embeddingBodySchema, body)).toBeTrue();
  expect(backend.embedded.at(-1)).toMatchObject({ inputs: expected, dimensions: null, user: null, truncate: false });
  expect(body.data).toMatchObject([{ embedding: [0, 0.5, -1] }, ...body.data.slice(1)]);
});

const REFUSED: [string, object, string][] = [
  ["/v1/embeddings", { input: [] }, 'Cannot use "input": expected an array of texts or of token ids that is not empty'],
  ["/v1/embeddings", { input: "" }, 'Cannot use "input": expected a text that is not empty'],
  ["/v1/embeddings", { input: ["a", ""] }, 'Cannot use "input[1]": expected'],
  ["/v1/embeddings", { input: [[]] }, 'Cannot use "input[0]": expected'],
  ["/v1/embeddings", { input: ["a", 1] }, 'Cannot use "input": expected texts, token ids or lists of token ids'],
  ["/v1/embeddings", { input: [-1] }, 'Cannot use "input[0]": expected'],
  [
    "/v1/embeddings",
    { input: Array(10_000).fill("a") },
    'Cannot use "input": expected at most 2048 inputs, found 10000',
  ],
  [
    "/v1/embeddings",
    { input: "a", dimensions: 0 },
    'Cannot use "dimensions": expected an integer of at least 1, found 0',
  ],
  [
    "/v1/embeddings",
    { input: "a", encoding_format: "int8" },
    'Cannot use "encoding_format": expected "float" or "base64"',
  ],
  ["/v1/embeddings", { input: "a", task: "query" }, 'Cannot use "task": there is no such parameter'],
  ["/v1/embeddings", {}, 'Cannot use the request: "input" is missing'],
  ["/v1/rerank", { query: "q", documents: [] }, 'Cannot use "documents": expected an array of 1 to 2048 documents'],
  ["/v1/rerank", { query: "", documents: ["a"] }, 'Cannot use "query": expected a text that is not empty'],
  ["/v1/rerank", { query: "q", documents: ["a"], top_n: 0 }, 'Cannot use "top_n": expected an integer of at least 1'],
  ["/v1/rerank", { query: "q", documents: ["a"], max_tokens_per_doc: 5 }, 'Cannot use "max_tokens_per_doc": it is not'],
  [
    "/v1/rerank",
    { query: "q", documents: Array(10_000).fill("a") },
    'Cannot use "documents": expected an array of 1 to',
  ],
  [
    "/v1/score",
    { text_1: ["a", "b"], text_2: "c" },
    'Cannot use "text_1": expected 1 or as many texts as "text_2" has, 1',
  ],
];

test.each(REFUSED)("%s refuses %j", async (path, body, words) => {
  const response = await post(path, { model: "tiny", ...body });
  expect(response.status).toBe(400);
  expect((await readProblem(response)).error.message).toStartWith(words);
});

describe("reranking", () => {
  const documents = ["long one", "the longest", { text: "short" }];
  const rerank = async (body: object) => await post("/v1/rerank", { model: "tiny", query: "q", documents, ...body });

  test("gives the best first, each with its place and text", async () => {
    const body = await bodyOf(await rerank({}));
    expect(Value.Check(rerankBodySchema, body)).toBeTrue();
    expect(body.results).toEqual([
      { index: 1, relevance_score: 0.11, document: { text: "the longest" } },
      { index: 0, relevance_score: 0.08, document: { text: "long one" } },
      { index: 2, relevance_score: 0.05, document: { text: "short" } },
    ]);
    expect(body.usage).toEqual({ prompt_tokens: 9, total_tokens: 9 });
    expect(body.meta).toEqual({ tokens: { input_tokens: 9, output_tokens: 0 } });
  });

  test("gives as many as were wanted, without texts where none were", async () => {
    const { results } = await bodyOf(await rerank({ top_n: 1, return_documents: false }));
    expect(results).toEqual([{ index: 1, relevance_score: 0.11 }]);
  });
});

const SCORES: [string, unknown, unknown, number[]][] = [
  ["two texts", "q", "four", [0.04]],
  ["one and several", "q", ["a", "four"], [0.01, 0.04]],
  ["as many of each", ["q", "r"], ["a", "four"], [0.01, 0.04]],
];

test.each(SCORES)("scores are of %s", async (_, text_1, text_2, scores) => {
  const body = await bodyOf(await post("/v1/score", { model: "tiny", text_1, text_2 }));
  expect(Value.Check(scoreBodySchema, body)).toBeTrue();
  expect(body.data).toEqual(scores.map((score, index) => ({ index, object: "score", score })));
  expect(body.created).toBe(1_763_000_000);
});
