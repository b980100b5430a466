/** `/tokenize`, `/detokenize` and `/apply-template`, as callers of llama.cpp and of vLLM ask, over the real text worker. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../formats/scratch.ts";
import { integer, seeded } from "../random.ts";
import { readProblem } from "./scripted-backend.ts";
import { type ScriptedModel, scriptedModel } from "./scripted-model.ts";

const SEED = 20_261_121;
const FOLDER = scratchFolder();
const TEMPLATE =
  "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}<{{ m.role }}>{{ m.content }}<|end|>{% endfor %}{{ tone }}";
let model: ScriptedModel;
beforeAll(() => {
  model = scriptedModel(FOLDER, TEMPLATE, ["<|im|>"]);
});
afterAll(async () => await model[Symbol.asyncDispose]());

const MODEL = { model: "tiny" };
const bytes = (text: string) => [...Buffer.from(text)];

async function ask(path: string, body: object): Promise<Record<string, unknown>> {
  const response = await model.server.post(path, body);
  expect([response.status, response.status === 200 || (await response.text())]).toEqual([200, true]);
  return (await response.json()) as Record<string, unknown>;
}

async function refusal(path: string, body: object) {
  const response = await model.server.post(path, body);
  const { error } = await readProblem(response);
  return [response.status, error.param];
}

describe("a text", () => {
  test("is tokens, counted, by both names for it", async () => {
    const told = { tokens: [...bytes("hö"), 256], count: 4, max_model_len: 64 };
    expect(await ask("/tokenize", { ...MODEL, content: "hö<|end|>" })).toEqual(told);
    expect(await ask("/tokenize", { ...MODEL, prompt: "hö<|end|>" })).toEqual(told);
  });

  test("is told piece by piece, with bytes where they are no text by themselves", async () => {
    const { tokens } = await ask("/tokenize", { ...MODEL, content: "aö<|im|>", with_pieces: true });
    expect(tokens).toEqual([
      { id: 97, piece: "a" },
      { id: 0xc3, piece: [0xc3] },
      { id: 0xb6, piece: [0xb6] },
      { id: 257, piece: "<|im|>" },
    ]);
    const { token_strs } = await ask("/tokenize", { ...MODEL, prompt: "a<|im|>", return_token_strs: true });
    expect(token_strs).toEqual(["a", "<|im|>"]);
  });

  test(`comes back from its tokens, control tokens by their names (seed ${SEED})`, async () => {
    const random = seeded(SEED);
    const alphabet = ["a", " ", "ö", "💚", "<|end|>", "\n", "<|", "\ufeff", "\u0000"];
    for (let round = 0; round < 40; round++) {
      const text = Array.from({ length: integer(random, 0, 20) }, () => alphabet[integer(random, 0, 8)]).join("");
      const { tokens } = await ask("/tokenize", { ...MODEL, content: text });
      expect(await ask("/detokenize", { ...MODEL, tokens })).toEqual({ content: text, prompt: text });
    }
  });

  test("has the tokens that its model wants around it where they are asked for, by default with vLLM's name for it", async () => {
    const folder = join(FOLDER, "begins");
    mkdirSync(folder);
    await using begins = scriptedModel(folder, TEMPLATE, ["<|im|>"]);
    const path = join(folder, "tokenizer.json");
    const single = [{ SpecialToken: { id: "<|im|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }];
    const special_tokens = { "<|im|>": { id: "<|im|>", ids: [257], tokens: ["<|im|>"] } };
    const post_processor = { type: "TemplateProcessing", single, pair: single, special_tokens };
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), post_processor }));
    const first = async (body: object) => {
      const response = await begins.server.post("/tokenize", { ...MODEL, ...body });
      return ((await response.json()) as { tokens: number[] }).tokens[0];
    };
    expect(await first({ content: "a" })).toBe(97);
    expect(await first({ content: "a", add_special: true })).toBe(257);
    expect(await first({ prompt: "a" })).toBe(257);
    expect(await first({ prompt: "a", add_special_tokens: false })).toBe(97);
  });

  test("of a million tokens is refused", async () => {
    expect(await refusal("/tokenize", { ...MODEL, content: "a".repeat(1_000_100) })).toEqual([413, null]);
  });
});

describe("a talk", () => {
  const messages = [{ role: "user", content: "hi<|end|>" }];
  const tools = [{ type: "function", function: { name: "clock" } }];

  test("is the prompt that its model reads, and its tokens", async () => {
    const chat = { ...MODEL, messages, tools, chat_template_kwargs: { tone: "!" } };
    const written = "[clock]<user>hi<|end|><|end|>!";
    expect(await ask("/apply-template", chat)).toEqual({ prompt: written });
    const { tokens, count } = await ask("/tokenize", {
      ...chat,
      add_special_tokens: false,
      add_generation_prompt: true,
    });
    // What the user wrote is no control token.
    expect(tokens).toEqual([...bytes("[clock]<user>hi<|end|>"), 256, ...bytes("!")]);
    await model.server.post("/v1/chat/completions", chat);
    expect(tokens).toEqual(model.prompt_ids.at(-1));
    const counted = await ask("/v1/responses/input_tokens", {
      ...MODEL,
      input: messages,
      tools: [{ type: "function", name: "clock" }],
      chat_template_kwargs: { tone: "!" },
    });
    expect(counted["input_tokens"]).toBe(count);
  });
});

describe("is refused by name:", () => {
  const CASES: readonly [string, object, string | null][] = [
    ["/tokenize", {}, "content"],
    ["/tokenize", { content: "a", prompt: "b" }, "prompt"],
    ["/tokenize", { content: "a", tools: [] }, "tools"],
    ["/tokenize", { content: "a", parse_special: false }, "parse_special"],
    ["/tokenize", { content: "a", add_special: true, add_special_tokens: false }, "add_special_tokens"],
    ["/tokenize", { messages: [{ role: "user", content: "a" }], add_special: true }, "add_special_tokens"],
    ["/tokenize", { content: "a", warmth: 1 }, "warmth"],
    ["/tokenize", { messages: [] }, "messages"],
    ["/detokenize", { tokens: [1, 9999] }, "tokens[1]"],
    ["/detokenize", { tokens: [-1] }, "tokens[0]"],
    ["/detokenize", { content: [1] }, "tokens"],
    [
      "/apply-template",
      { messages: [{ role: "user", content: "a" }], add_generation_prompt: false },
      "add_generation_prompt",
    ],
    ["/apply-template", { messages: [{ role: "user", content: "a" }], chat_template: "x" }, "chat_template"],
    [
      "/apply-template",
      { messages: [{ role: "user", content: "a" }], chat_template_kwargs: { mood: 1 } },
      "chat_template_kwargs.mood",
    ],
  ];
  for (const [path, body, param] of CASES) {
    test(`${path} ${JSON.stringify(body).slice(0, 70)}`, async () => {
      expect(await refusal(path, { ...MODEL, ...body })).toEqual([400, param]);
    });
  }

  test("a model that is not here", async () => {
    expect(await refusal("/tokenize", { model: "none", content: "a" })).toEqual([404, "model"]);
  });
});

test("the one model in memory need not be named", async () => {
  // The scripted owner has one in memory, which this server cannot read.
  const response = await model.server.post("/tokenize", { content: "a" });
  expect((await readProblem(response)).detail).toContain("some/model");
});
