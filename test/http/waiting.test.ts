/** What a stream says while nothing comes: each dialect in its way, and what clients make of it. */

import { expect, test } from "bun:test";
import OpenAI from "openai";
import { Failure } from "../../src/core/failure.ts";
import type { Wait } from "../../src/core/waiting.ts";
import { listen } from "../../src/http/listen.ts";
import { hello, type Script, ScriptedBackend, said, serverOf, USAGE } from "./scripted-backend.ts";

const CHAT = { model: "tiny", messages: [{ role: "user", content: "hi" }], stream: true };

const late: Script = async function* () {
  await Bun.sleep(60);
  yield* hello();
};

/** Begins at once, and then thinks. */
const thoughtful: Script = async function* () {
  yield { kind: "start", prompt_tokens: 5 };
  yield said("Well");
  await Bun.sleep(60);
  yield { kind: "finish", choice: 0, reason: "stop", stop_text: null };
  yield { kind: "end", usage: USAGE };
};

async function streamOf(script: Script, wait: Wait | null, path = "/v1/chat/completions"): Promise<string> {
  const { post, owner } = serverOf(new ScriptedBackend(script), 60_000, 10);
  owner.wait = wait;
  return await (await post(path, CHAT)).text();
}

const WORDS: readonly [Wait | null, string][] = [
  [{ kind: "memory", position: 2, estimated_ms: 4200 }, "waiting position=2 estimated_ms=4200 for=memory"],
  [{ kind: "row", position: 7, estimated_ms: null }, "waiting position=7 estimated_ms=unknown for=row"],
  [
    { kind: "load", stage: "weights", bytes_done: 5, bytes_total: 9 },
    "loading stage=weights bytes_done=5 bytes_total=9",
  ],
  [{ kind: "prompt" }, "reading the prompt"],
  [null, "working"],
];

test.each([...WORDS])("%o is a comment of its own in OpenAI's streams", async (wait, words) => {
  const text = await streamOf(late, wait);
  expect(text).toStartWith(`: ${words}\n\n`);
  const events = text.replaceAll(`: ${words}\n\n`, "");
  expect(events).toStartWith("data: {");
  expect(events).toEndWith("data: [DONE]\n\n");
});

test("a silence amid an answer is filled too", async () => {
  const text = await streamOf(thoughtful, null);
  expect(text).toMatch(/Well[^\n]*\n\n(?:: working\n\n)+data: /);
});

test("who waits and is refused then learns why by an event", async () => {
  const refuse: Script = async function* () {
    await Bun.sleep(30);
    yield* [];
    throw new Failure("no_memory", "Cannot load: it is full");
  };
  const text = await streamOf(refuse, null);
  expect(text.replace(/^(?:: working\n\n)+/, "")).toMatch(/^data: \{"error":\{[^\n]*it is full[^\n]*\}\}\n\n$/);
});

test("an answer that had to wait and then broke off ends as any other of its dialect", async () => {
  const broken: Script = async function* () {
    await Bun.sleep(60);
    yield { kind: "start", prompt_tokens: 5 };
    yield said("Well");
    throw new Failure("engine", "Cannot go on: the engine has died");
  };
  const { post } = serverOf(new ScriptedBackend(broken), 60_000, 10);
  const text = await (await post("/v1/responses", { model: "tiny", input: "hi", stream: true })).text();
  const types = [...text.matchAll(/^event: (.*)$/gm)].map(([, type]) => type);
  expect([types[0], types.at(-1)]).toEqual(["response.created", "response.failed"]);
});

test("Ollama's lines have no place for words, and wait in silence", async () => {
  const lines = (await streamOf(late, null, "/api/chat")).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).done)).toEqual([false, false, true]);
});

test("OpenAI's client reads over the words", async () => {
  const { app } = serverOf(new ScriptedBackend(late), 60_000, 10);
  const { url, stop } = listen(app, { host: "127.0.0.1", port: 0 });
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  const messages = [{ role: "user", content: "hi" }] as const;
  const stream = await client.chat.completions.create({ model: "tiny", messages: [...messages], stream: true });
  const pieces = (await Array.fromAsync(stream)).map((chunk) => chunk.choices[0]?.delta.content ?? "");
  expect(pieces.join("")).toBe("Hello, wörld");
  await stop();
});
