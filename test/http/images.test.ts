/** Images in the three dialects: what a backend is given of them, and what a model that reads text only says. */

import { afterAll, beforeEach, expect, test } from "bun:test";
import type { Message } from "../../src/core/generation.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";
import { scriptedModel } from "./scripted-model.ts";

const PNG = "iVBORw0KGgoAAAANSUhEUg==";
const CHAT = "/v1/chat/completions";
const MESSAGES = "/v1/messages";
const OLLAMA = "/api/chat";
const URL = "https://example.com/a.png";
const data = { kind: "data", media_type: "image/png", base64: PNG } as const;

const openai = {
  model: "tiny",
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "What is " },
        { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } },
        { type: "text", text: "?" },
        { type: "image_url", image_url: { url: URL, detail: "auto" } },
      ],
    },
  ],
};
const anthropic = {
  model: "tiny",
  max_tokens: 9,
  messages: [
    {
      role: "user",
      content: [
        { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
        { type: "text", text: "And" },
        { type: "image", source: { type: "url", url: URL } },
      ],
    },
    { role: "user", content: [{ type: "image", source: { type: "url", url: URL } }] },
  ],
};
/** What a tool has seen. */
const result = [{ type: "image", source: { type: "base64", media_type: "image/png", data: PNG } }];
const seen = {
  ...anthropic,
  messages: [
    { role: "user", content: "Look" },
    { role: "assistant", content: [{ type: "tool_use", id: "a", name: "look", input: {} }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "a", content: result }] },
  ],
};
const ollama = { model: "tiny", stream: false, messages: [{ role: "user", content: "What?", images: [PNG] }] };

const backend = new ScriptedBackend();
const server = serverOf(backend);
const local = scriptedModel(scratchFolder(), "{% for m in messages %}{{ m.content }}{% endfor %}");

beforeEach(() => {
  backend.requests.length = 0;
});

afterAll(() => local[Symbol.asyncDispose]());

async function messagesOf(path: string, body: object): Promise<readonly Message[]> {
  const response = await server.post(path, body);
  expect(`${response.status} ${await response.text()}`).toStartWith("200 ");
  const { prompt } = backend.last;
  return prompt.kind === "messages" ? prompt.messages : [];
}

test("stand in their places among the words", async () => {
  expect(await messagesOf(CHAT, openai)).toEqual([
    {
      role: "user",
      content: "What is ?",
      images: [
        { at: 8, source: data },
        { at: 9, source: { kind: "url", url: URL } },
      ],
    },
  ]);
  const url = { kind: "url", url: URL } as const;
  expect(await messagesOf(MESSAGES, anthropic)).toEqual([
    {
      role: "user",
      content: "And",
      images: [
        { at: 0, source: data },
        { at: 3, source: url },
        { at: 3, source: url },
      ],
    },
  ]);
  const shown = [{ role: "user", content: "What?", images: [{ at: 0, source: data }] }] as const;
  expect(await messagesOf(OLLAMA, ollama)).toEqual(shown);
  const generate = { model: "tiny", stream: false, prompt: "What?", images: [PNG] };
  expect(await messagesOf("/api/generate", generate)).toEqual(shown);
});

test("are refused by a model that reads text only, in each dialect and by its name", async () => {
  const message = 'Cannot look at images: model "tiny" reads text only';
  for (const [path, body] of [
    [CHAT, openai],
    [MESSAGES, anthropic],
    [MESSAGES, seen],
    [OLLAMA, ollama],
    [`${MESSAGES}/count_tokens`, { ...anthropic, max_tokens: undefined }],
  ] as const) {
    const response = await local.server.post(path, body);
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: string | { message: string } };
    expect(typeof error === "string" ? error : error.message).toBe(message);
  }
});

test("that are no image, or not a user's, are refused", async () => {
  const problem = async (path: string, body: object) => (await readProblem(await server.post(path, body))).error;
  const system = { ...openai, messages: [{ role: "system", content: openai.messages[0]?.content }] };
  expect((await problem(CHAT, system)).message).toBe(
    'Cannot use "messages[0].content[1]": the role is "system", only "user" has images',
  );
  const response = await server.post(OLLAMA, { ...ollama, messages: [{ role: "user", content: "", images: ["x"] }] });
  expect(await response.json()).toEqual({
    error:
      'Cannot use "messages[0].images[0]": expected a JPEG, PNG, GIF or WebP image in base64, found something else',
  });
});
