/** all-MiniLM-L6-v2 and a tiny reranker from text to numbers, through every thread, beside a model that answers. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type App, buildApp } from "../../src/app.ts";
import { readConfig } from "../../src/config.ts";
import type { EmbedRequest } from "../../src/core/encoding.ts";
import { type GenerationRequest, NO_WISHES, PLAIN_ANSWER } from "../../src/core/generation.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { askNumpy, minilm, writeTinyEncoder } from "../models/encoder-files.ts";

const EMBEDDER = "all-MiniLM-L6-v2";
const ANSWERER = "SmolLM2-135M-Instruct";
const RANKER = "tiny-ranker";
const NEVER = new AbortController().signal;
const FOLDER = scratchFolder();

let app: App;

beforeAll(async () => {
  const ranker = writeTinyEncoder(join(FOLDER, RANKER), "bert", true);
  write(join(ranker, "tokenizer.json"), JSON.stringify(smallTokenizer()));
  app = await start("worker", [minilm(), ranker, ANSWERER]);
}, 60_000);

afterAll(async () => await app[Symbol.asyncDispose]());

async function start(isolation: "worker" | "process", models: readonly string[]): Promise<App> {
  const flags = { config_file: null, settings: { isolation } };
  return await buildApp(readConfig(flags, { HOME: join(FOLDER, isolation) }), models);
}

/** MiniLM's, with the words that the tiny model has room for. */
function smallTokenizer() {
  const tokenizer = JSON.parse(readFileSync(join(minilm(), "tokenizer.json"), "utf8"));
  const words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ..."abcdefghijklmnopqrstuvwxyz0123456789"];
  const pieces = [..."abcdefghijklmnopqrstuvwxyz0123456789"].map((letter) => `##${letter}`);
  tokenizer.model.vocab = Object.fromEntries([...words, ...pieces].map((word, id) => [word, id]));
  for (const token of tokenizer.added_tokens) token.id = words.indexOf(token.content);
  const special = tokenizer.post_processor.special_tokens;
  special["[CLS]"].ids = [words.indexOf("[CLS]")];
  special["[SEP]"].ids = [words.indexOf("[SEP]")];
  tokenizer.padding = null;
  tokenizer.truncation = null;
  return tokenizer;
}

function embedding(inputs: EmbedRequest["inputs"], changes: Partial<EmbedRequest> = {}): EmbedRequest {
  const nothing = {
    request_id: "req_1",
    prompt_name: null,
    dimensions: null,
    tokens_max: null,
    truncate: true,
    keep_s: null,
    user: null,
  };
  return { ...nothing, model: EMBEDDER, inputs, ...changes };
}

function chat(content: string, tokens_max: number): GenerationRequest {
  const sampling = { ...NO_WISHES, temperature: 0 };
  const prompt = { kind: "messages", messages: [{ role: "user", content }] } as const;
  return { ...PLAIN_ANSWER, request_id: "req_2", model: ANSWERER, prompt, sampling, tokens_max };
}

async function messageOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "no failure",
    (error: Error) => error.message,
  );
}

const WORDS = [
  "naïve café",
  "ÜBER-Größe",
  "北京 is big",
  "🎉 party",
  "don't",
  "x_y=3.14",
  "Ⅷ ½",
  "[SEP] spelled",
  "a\u0301",
];
const SENTENCES = Array.from({ length: 40 }, (_, index) => {
  const filling = "The quick brown fox jumps over the lazy dog. ".repeat(index % 7);
  return index === 11 ? "word ".repeat(900) : `${WORDS[index % WORDS.length]} ${filling} number ${index * index}`;
});

function cosine(a: ArrayLike<number> | undefined, b: readonly number[] | undefined): number {
  const [first, second] = [Array.from(a ?? []), b ?? []];
  const dot = first.reduce((sum, value, index) => sum + value * (second[index] ?? Number.NaN), 0);
  return dot / Math.hypot(...first) / Math.hypot(...second);
}

test("40 sentences have the vectors that numpy gives them, together and alone, cut at 256 tokens", async () => {
  const expected = askNumpy(minilm(), { texts: SENTENCES, tokens_max: 256 });
  const together = await app.backend.embed(embedding(SENTENCES), NEVER);
  expect(together.prompt_tokens).toBe(expected.token_ids.reduce((sum, ids) => sum + ids.length, 0));
  expect(expected.token_ids[11]?.length).toBe(256);
  for (const [index, sentence] of SENTENCES.entries()) {
    const { vectors } = await app.backend.embed(embedding([sentence]), NEVER);
    for (const vector of [vectors[0], together.vectors[index]]) {
      expect(cosine(vector, expected.values[index])).toBeGreaterThan(0.9999);
      expect(Math.hypot(...(vector ?? []))).toBeCloseTo(1, 5);
    }
  }
}, 120_000);

test("ids of tokens give what their text gives", async () => {
  const { vectors } = await app.backend.embed(embedding(["hello world", [101, 7592, 2088, 102]]), NEVER);
  expect(cosine(vectors[0], Array.from(vectors[1] ?? []))).toBeGreaterThan(0.999999);
  const refusal = await messageOf(app.backend.embed(embedding([[101, 30522]]), NEVER));
  expect(refusal).toBe(`Cannot use the input: "${EMBEDDER}" has 30522 tokens, found token 30522`);
});

test("a text that is too long is refused where it must not be cut", async () => {
  const long = embedding(["short", "word ".repeat(900)], { truncate: false });
  expect(await messageOf(app.backend.embed(long, NEVER))).toBe(
    `Cannot embed input 1: it has more than the 256 tokens that "${EMBEDDER}" reads, and "truncate" is false`,
  );
});

test("a caller may have less of a text read", async () => {
  const { prompt_tokens } = await app.backend.embed(embedding(["word ".repeat(90)], { tokens_max: 8 }), NEVER);
  expect(prompt_tokens).toBe(8);
});

test("vectors are cut only where the model's files allow it", async () => {
  const { vectors } = await app.backend.embed(embedding(["a"], { dimensions: 384 }), NEVER);
  expect(vectors[0]?.length).toBe(384);
  expect(await messageOf(app.backend.embed(embedding(["a"], { dimensions: 128 }), NEVER))).toBe(
    `Cannot use "dimensions": the vectors of "${EMBEDDER}" may have 384 numbers, found 128`,
  );
});

test("a pair's score is that of numpy, what is too long cut from the longer text", async () => {
  const pairs = [
    ["who am i", "you are 7"],
    ["short", "abc 123 ".repeat(40)],
    ["long query ".repeat(30), "x"],
    ["both are long ".repeat(9), "and so is this ".repeat(9)],
  ] as const;
  const expected = askNumpy(join(FOLDER, RANKER), { texts: pairs, tokens_max: 70 });
  const { scores, prompt_tokens } = await app.backend.rerank({ request_id: "req_3", model: RANKER, pairs }, NEVER);
  expect(prompt_tokens).toBe(expected.token_ids.reduce((sum, ids) => sum + ids.length, 0));
  for (const [index, score] of scores.entries()) {
    expect(score).toBeCloseTo(1 / (1 + Math.exp(-(expected.values[index]?.[0] ?? Number.NaN))), 4);
  }
});

test("a model does only what its files are for", async () => {
  const ranking = (model: string) => ({ request_id: "req_4", model, pairs: [["a", "b"]] as const });
  const answering = async (model: string) =>
    await Array.fromAsync(app.backend.generate({ ...chat("hi", 1), model }, NEVER));
  expect(await messageOf(app.backend.embed(embedding(["a"], { model: ANSWERER }), NEVER))).toBe(
    `Cannot embed with "${ANSWERER}": it is a model that answers: /v1/chat/completions takes it`,
  );
  expect(await messageOf(app.backend.rerank(ranking(EMBEDDER), NEVER))).toBe(
    `Cannot rank with "${EMBEDDER}": it is an embedding model: /v1/embeddings takes it`,
  );
  expect(await messageOf(answering(EMBEDDER))).toBe(
    `Cannot generate with "${EMBEDDER}": it is an embedding model: /v1/embeddings takes it`,
  );
  expect(await messageOf(answering(RANKER))).toContain("it is a reranker: /v1/rerank takes it");
});

test("an answer goes on while texts are read, and both end as they do alone", async () => {
  const alone = await Array.fromAsync(app.backend.generate(chat("Count to twenty.", 24), NEVER));
  const many = Array.from({ length: 60 }, (_, index) => SENTENCES[index % 40] ?? "");
  const order: string[] = [];
  const reading = app.backend.embed(embedding(many), NEVER).then(({ vectors }) => {
    order.push("read");
    return vectors;
  });
  const together: unknown[] = [];
  for await (const event of app.backend.generate(chat("Count to twenty.", 24), NEVER)) {
    together.push(event);
    order.push(event.kind);
  }
  const vectors = await reading;
  expect(together.slice(0, -1)).toEqual(alone.slice(0, -1)); // the last tells what the cache held
  expect(order.indexOf("text")).toBeLessThan(order.indexOf("read"));
  expect(cosine(vectors[40], Array.from(vectors[0] ?? []))).toBeGreaterThan(0.9999);
}, 60_000);

test("who leaves frees the engine for the next", async () => {
  const leaving = new AbortController();
  const dropped = messageOf(app.backend.embed(embedding(SENTENCES), leaving.signal));
  await app.backend.embed(embedding(["a"]), NEVER);
  leaving.abort(new Error("left"));
  expect(await dropped).toBe("left");
  expect((await app.backend.embed(embedding(["a"]), NEVER)).vectors.length).toBe(1);
}, 60_000);

test("an engine in a process of its own gives the same vectors", async () => {
  await using other = await start("process", [minilm()]);
  const inputs = SENTENCES.slice(0, 5);
  const [here, there] = await Promise.all([app, other].map((each) => each.backend.embed(embedding(inputs), NEVER)));
  expect(here?.vectors).toHaveLength(5);
  expect(there?.vectors).toEqual(here?.vectors ?? []);
}, 60_000);
