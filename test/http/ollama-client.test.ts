/** The official client of Ollama's API, unmodified, against a real socket. */

import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { Ollama } from "ollama";
import { Failure } from "../../src/core/failure.ts";
import type { GenerationEvent } from "../../src/core/generation.ts";
import { type Listening, listen } from "../../src/http/listen.ts";
import { failing, hello, type Script, ScriptedBackend, said, saying, serverOf, USAGE } from "./scripted-backend.ts";

const MESSAGES = [{ role: "user", content: "hi" }];
const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    description: "Tells the weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

let script: Script = hello;
const backend = new ScriptedBackend((request, signal) => script(request, signal));
const house = serverOf(backend);
let server: Listening;
let client: Ollama;

beforeAll(() => {
  server = listen(house.app, { host: "127.0.0.1", port: 0 });
  client = new Ollama({ host: server.url });
});

beforeEach(() => {
  script = hello;
});

afterAll(async () => await server.stop());

async function errorOf(promise: PromiseLike<unknown>): Promise<{ error: string; status_code: number }> {
  return (await Promise.resolve(promise).catch((error: unknown) => error)) as { error: string; status_code: number };
}

async function* thinkingAndCalling(): AsyncGenerator<GenerationEvent, void, undefined> {
  yield { kind: "start", prompt_tokens: 5 };
  yield { kind: "reasoning", choice: 0, text: "I need" };
  yield { kind: "reasoning", choice: 0, text: " to look" };
  yield said("Let me see");
  for (const [index, city] of ["Oslo", "Rome"].entries()) {
    yield { kind: "call", choice: 0, index, id: `call_${index}`, name: "weather" };
    yield { kind: "arguments", choice: 0, index, text: '{"city":' };
    yield { kind: "arguments", choice: 0, index, text: `"${city}"}` };
  }
  yield { kind: "finish", choice: 0, reason: "tool_calls", stop_text: null };
  yield { kind: "end", usage: USAGE, timing: { load_ms: 1, prompt_ms: 2.5, answer_ms: 3 } };
}

test("chats", async () => {
  const { message, model, done_reason, eval_count, total_duration } = await client.chat({
    model: "tiny:latest",
    messages: MESSAGES,
  });
  expect(message).toEqual({ role: "assistant", content: "Hello, wörld" });
  expect([model, done_reason, eval_count]).toEqual(["tiny:latest", "stop", 2]);
  expect(total_duration).toBeGreaterThan(0);
  expect(backend.last.model).toBe("tiny");
});

test("streams a chat, which is done once and at its end", async () => {
  const lines = await Array.fromAsync(await client.chat({ model: "tiny", messages: MESSAGES, stream: true }));
  expect(lines.map(({ message, done }) => [message.content, done])).toEqual([
    ["Hello", false],
    [", wörld", false],
    ["", true],
  ]);
});

test("generates, whole and streamed, with a system message before the prompt", async () => {
  const asked = { model: "tiny", prompt: "hi", system: "Be brief" };
  expect((await client.generate(asked)).response).toBe("Hello, wörld");
  expect(backend.last.prompt).toEqual({
    kind: "messages",
    messages: [
      { role: "system", content: "Be brief" },
      { role: "user", content: "hi" },
    ],
  });
  const lines = await Array.fromAsync(await client.generate({ ...asked, stream: true }));
  expect(lines.map(({ response, done }) => [response, done])).toEqual([
    ["Hello", false],
    [", wörld", false],
    ["", true],
  ]);
});

test("calls tools and tells thoughts; each call is whole, in a stream too", async () => {
  script = thinkingAndCalling;
  const calls = ["Oslo", "Rome"].map((city, index) => {
    return { id: `call_${index}`, function: { index, name: "weather", arguments: { city } } };
  });
  const asked = { model: "tiny", messages: MESSAGES, tools: [WEATHER], think: true };
  const whole = await client.chat(asked);
  expect(whole.message).toEqual({
    role: "assistant",
    content: "Let me see",
    thinking: "I need to look",
    tool_calls: calls,
  });
  expect(whole.done_reason).toBe("stop");
  expect([whole.load_duration, whole.prompt_eval_duration, whole.eval_duration]).toEqual([1e6, 2.5e6, 3e6]);
  const { tools, reasoning } = backend.last;
  expect(tools).toEqual([{ ...WEATHER.function, strict: false }]);
  expect(reasoning.effort).toBe("medium");
  const lines = await Array.fromAsync(await client.chat({ ...asked, stream: true }));
  expect(lines.flatMap(({ message }) => message.tool_calls ?? [])).toEqual(calls);
  expect(lines.map(({ message }) => message.thinking ?? "").join("")).toBe("I need to look");
  expect(lines.filter(({ done }) => done)).toHaveLength(1);
});

test("sends back calls without ids, and results that name the tool or nothing", async () => {
  const call = (city: string) => ({ function: { name: "weather", arguments: { city } } });
  const messages = [
    ...MESSAGES,
    { role: "assistant", content: "", thinking: "Hm", tool_calls: [call("Oslo"), call("Rome")] },
    { role: "tool", content: "rain", tool_name: "weather" },
    { role: "tool", content: "sun" },
  ];
  await client.chat({ model: "tiny", messages });
  const { prompt } = backend.last;
  expect(prompt.kind === "messages" && prompt.messages.slice(1)).toEqual([
    {
      role: "assistant",
      content: "",
      reasoning: "Hm",
      tool_calls: [
        { id: "call_0", name: "weather", arguments: '{"city":"Oslo"}' },
        { id: "call_1", name: "weather", arguments: '{"city":"Rome"}' },
      ],
    },
    { role: "tool", content: "rain", tool_call_id: "call_0" },
    { role: "tool", content: "sun", tool_call_id: "call_1" },
  ]);
});

test("a result of no call is taken, unless it names one", async () => {
  const result = { role: "tool", content: "sun" } as const;
  await client.chat({ model: "tiny", messages: [...MESSAGES, result] });
  const { prompt } = backend.last;
  expect(prompt.kind === "messages" && prompt.messages.at(-1)).toEqual({ ...result, tool_call_id: "call_0" });
  const stray = await errorOf(client.chat({ model: "tiny", messages: [{ ...result, tool_call_id: "x" } as never] }));
  expect(stray.error).toBe('Cannot use "messages[0]": no call "x" before it waits for a result');
});

test("tells how likely tokens were", async () => {
  script = saying;
  const whole = await client.chat({ model: "tiny", messages: MESSAGES, logprobs: true, top_logprobs: 1 });
  expect(whole.logprobs?.map(({ token, logprob }) => [token, logprob])).toEqual([
    ["hi", -0.125],
    [" 0", -0.5],
  ]);
  expect(whole.logprobs?.[0]?.top_logprobs?.[0]?.token).toBe("a");
  expect(whole.done_reason).toBe("length");
});

test("gives the form of the answer", async () => {
  const schema = { type: "object", properties: { city: { type: "string" } } };
  await client.chat({ model: "tiny", messages: MESSAGES, format: schema });
  expect(backend.last.constraint).toEqual({ kind: "json_schema", parameter: "format", schema });
  await client.generate({ model: "tiny", prompt: "hi", format: "json" });
  expect(backend.last.constraint).toMatchObject({ schema: { type: "object" } });
});

test("embeds, and embeds as it did before", async () => {
  const { embeddings, prompt_eval_count } = await client.embed({ model: "tiny", input: ["a", "b"], dimensions: 3 });
  expect(embeddings).toEqual([
    [0, 0.5, -1],
    [1, 0.5, -1],
  ]);
  expect(prompt_eval_count).toBe(7);
  expect(backend.embedded.at(-1)).toMatchObject({ dimensions: 3, truncate: true });
  await client.embed({ model: "tiny", input: "a", truncate: false, keep_alive: 0 });
  expect(backend.embedded.at(-1)).toMatchObject({ truncate: false, keep_s: 0 });
  expect((await client.embeddings({ model: "tiny", prompt: "a" })).embedding).toEqual([0, 0.5, -1]);
  const asked = backend.embedded.length;
  for (const input of ["", []]) {
    const nothing = await client.embed({ model: "tiny", input, keep_alive: 0 });
    expect(nothing).toMatchObject({ model: "tiny", embeddings: [], prompt_eval_count: 0 });
    expect(house.owner.asked.at(-1)).toEqual(["keep", "tiny", 0]);
  }
  expect((await client.embeddings({ model: "tiny", prompt: "" })).embedding).toEqual([]);
  expect(backend.embedded).toHaveLength(asked);
});

test("lists models, those in memory, and shows one", async () => {
  const { models } = await client.list();
  expect(models.map(({ name, size, details }) => [name, size, details.format])).toEqual([
    ["tiny", 300, "gguf"],
    ["org/name", 500, "safetensors"],
  ]);
  expect(models[0]?.digest).toMatch(/^[0-9a-f]{64}$/);
  expect((await client.ps()).models).toEqual([]);
  const shown = await client.show({ model: "org/name:latest" });
  expect(shown).toMatchObject({
    capabilities: ["completion", "tools"],
    template: "{{ messages }}",
    details: { family: "llama", families: ["llama"], parameter_size: "100", quantization_level: "F32" },
  });
  expect(shown.parameters).toMatch(/^temperature +0\.2\ntop_p +0\.9$/);
  expect(shown.model_info).toMatchObject({
    "general.architecture": "llama",
    "general.parameter_count": 100,
    "llama.context_length": 512,
    "llama.block_count": 2,
    "llama.embedding_length": 16,
  });
  expect((await errorOf(client.show({ model: "none" }))).status_code).toBe(404);
  expect((await client.version()).version).toBe("0.12.6+bunsen.1.2.3");
});

test("pulls what is there, and says what it cannot do", async () => {
  expect(await client.pull({ model: "tiny" })).toMatchObject({ status: "success" });
  const lines = await Array.fromAsync(await client.pull({ model: "tiny", stream: true }));
  expect(lines.at(-1)).toMatchObject({ status: "success" });
  const missing = await errorOf(client.pull({ model: "none" }));
  expect(missing.status_code).toBe(404);
  expect(missing.error).toBe('Cannot pull model "none": it is not there');
  const refused = [
    client.delete({ model: "tiny" }),
    client.create({ model: "other", from: "tiny" }),
    client.push({ model: "tiny" }),
  ];
  const errors = await Promise.all(refused.map((promise: Promise<unknown>) => errorOf(promise)));
  expect(errors.map(({ status_code }) => status_code)).toEqual([400, 400, 400]);
});

test("hears of an error before the answer with its status, and in its midst as a line", async () => {
  script = failing(new Failure("context_overflow", "Cannot fit the prompt: it is long"), 0);
  const early = await errorOf(client.chat({ model: "tiny", messages: MESSAGES, stream: true }));
  expect([early.status_code, early.error]).toEqual([400, "Cannot fit the prompt: it is long"]);
  script = failing(new Failure("engine", "Cannot go on: it died"), 2);
  const stream = await client.chat({ model: "tiny", messages: MESSAGES, stream: true });
  const seen: string[] = [];
  const late = await errorOf(
    (async () => {
      for await (const { message } of stream) seen.push(message.content);
    })(),
  );
  expect(String(late)).toBe("Error: Cannot go on: it died");
  expect(seen).toEqual(["Hello"]);
  expect((await errorOf(client.chat({ model: "none", messages: MESSAGES }))).status_code).toBe(404);
});

test("loads and unloads a model without a prompt", async () => {
  house.owner.asked.length = 0;
  const load = await client.generate({ model: "tiny", prompt: "", keep_alive: "5m" });
  expect([load.done, load.done_reason, load.response]).toEqual([true, "load", ""]);
  const unload = await client.chat({ model: "tiny:latest", messages: [], keep_alive: 0 });
  expect([unload.done, unload.done_reason]).toEqual([true, "unload"]);
  expect(house.owner.asked.filter(([what]) => what === "keep")).toEqual([
    ["keep", "tiny", 300],
    ["keep", "tiny", 0],
  ]);
});
