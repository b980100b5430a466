/** The official client of Anthropic's API, unmodified, against a real socket. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import Anthropic, { APIError } from "@anthropic-ai/sdk";
import { Failure, type FailureKind } from "../../src/core/failure.ts";
import type { GenerationEvent, GenerationRequest } from "../../src/core/generation.ts";
import { type Listening, listen } from "../../src/http/listen.ts";
import { hello, type Script, ScriptedBackend, said, serverOf, USAGE } from "./scripted-backend.ts";

const HI = {
  model: "tiny",
  max_tokens: 64,
  messages: [{ role: "user", content: "hi" }],
} satisfies Anthropic.MessageCreateParams;
const TOOLS: Anthropic.Tool[] = [
  {
    name: "weather",
    description: "Tells it",
    input_schema: { type: "object", properties: { city: { type: "string" } } },
  },
  { name: "clock", input_schema: { type: "object" } },
];

let script: Script = hello;
const backend = new ScriptedBackend((request, signal) => script(request, signal));
const house = serverOf(backend);
let server: Listening;
let client: Anthropic;

beforeAll(() => {
  server = listen(house.app, { host: "127.0.0.1", port: 0 });
  client = new Anthropic({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
});
beforeEach(() => {
  script = hello;
});
afterAll(async () => await server.stop());

/** A script of these events, with what every answer has around them. */
function answering(reason: "stop" | "length" | "tool_calls", ...events: GenerationEvent[]): Script {
  return async function* () {
    yield { kind: "start", prompt_tokens: 5 };
    yield* events;
    yield { kind: "finish", choice: 0, reason, stop_text: null };
    yield { kind: "end", usage: USAGE };
  };
}

const thought = (text: string): GenerationEvent => ({ kind: "reasoning", choice: 0, text });
function calling(index: number, id: string, name: string, ...parts: string[]): GenerationEvent[] {
  const begun = { kind: "call", choice: 0, index, id, name } as const;
  return [begun, ...parts.map((text) => ({ kind: "arguments", choice: 0, index, text }) as const)];
}

async function errorOf(promise: PromiseLike<unknown>): Promise<APIError> {
  const error = await Promise.resolve(promise).catch((error: unknown) => error);
  if (error instanceof APIError) return error;
  throw new Error(`Not an error of the client: ${Bun.inspect(error)}`);
}

test("answers, with what was cached counted apart", async () => {
  const { data: message, request_id } = await client.messages.create(HI).withResponse();
  expect(message).toMatchObject({
    id: `msg_${request_id?.slice("req_".length)}`,
    type: "message",
    role: "assistant",
    model: "tiny",
    content: [{ type: "text", text: "Hello, wörld" }],
    stop_reason: "end_turn",
    stop_sequence: null,
    usage: {
      input_tokens: 2,
      cache_read_input_tokens: 3,
      cache_creation_input_tokens: 0,
      output_tokens: 2,
      service_tier: "standard",
    },
  });
});

test("is let in with a key, with a token, and by the client's beta half", async () => {
  const bearer = new Anthropic({ baseURL: server.url, apiKey: null, authToken: "token", maxRetries: 0 });
  expect((await bearer.messages.create(HI)).stop_reason).toBe("end_turn");
  expect((await client.beta.messages.create({ ...HI, betas: ["interleaved-thinking-2025-05-14"] })).role).toBe(
    "assistant",
  );
});

test("its stream helper puts thought, text and calls together", async () => {
  script = answering(
    "tool_calls",
    thought("Let me"),
    thought(" see"),
    said("I look"),
    ...calling(0, "call_1", "weather", '{"city"', ':"Oslo"}'),
    ...calling(1, "call_2", "clock", "{}"),
  );
  const texts: string[] = [];
  const thoughts: string[] = [];
  const stream = client.messages.stream({ ...HI, tools: TOOLS, thinking: { type: "enabled", budget_tokens: 2048 } });
  stream.on("text", (text) => texts.push(text)).on("thinking", (text) => thoughts.push(text));
  const message = await stream.finalMessage();
  expect([texts, thoughts]).toEqual([["I look"], ["Let me", " see"]]);
  expect(message.content).toMatchObject([
    { type: "thinking", thinking: "Let me see", signature: expect.stringMatching(/^bunsen\./) },
    { type: "text", text: "I look" },
    { type: "tool_use", id: "call_1", name: "weather", input: { city: "Oslo" } },
    { type: "tool_use", id: "call_2", name: "clock", input: {} },
  ]);
  expect(message.stop_reason).toBe("tool_use");
  expect(message.usage).toMatchObject({ input_tokens: 2, cache_read_input_tokens: 3, output_tokens: 2 });
  expect(backend.last).toMatchObject({ reasoning: { effort: "low", tokens_max: 2048 }, tool_choice: { kind: "auto" } });
  const whole = await client.messages.create({ ...HI, tools: TOOLS });
  expect<unknown>(whole.content).toEqual(message.content);
});

test("a thought that is not shown comes back by its signature", async () => {
  script = answering("stop", thought("secret"), said("four"));
  const thinking = { type: "adaptive", display: "omitted" } as const;
  const streamed = await client.messages.stream({ ...HI, thinking }).finalMessage();
  const whole = await client.messages.create({ ...HI, thinking });
  expect<unknown>(whole.content).toEqual(streamed.content);
  expect(whole.content[0]).toMatchObject({ type: "thinking", thinking: "" });
  const again = [
    ...HI.messages,
    { role: "assistant", content: whole.content },
    { role: "user", content: "why?" },
  ] as const;
  await client.messages.create({ ...HI, messages: [...again] });
  expect(backend.last.prompt).toMatchObject({ messages: [{}, { reasoning: "secret", content: "four" }, {}] });
});

test("an agent with two tools comes to a streamed answer", async () => {
  script = async function* (request: GenerationRequest) {
    const told = request.prompt.kind === "messages" ? request.prompt.messages : [];
    const results = told.flatMap((message) => (message.role === "tool" ? [message.content] : []));
    const next = [
      answering("tool_calls", thought("First"), ...calling(0, "call_1", "weather", '{"city":"Oslo"}')),
      answering("tool_calls", ...calling(0, "call_2", "clock", "{}")),
      answering("stop", said("So: "), said(results.join(" and "))),
    ][results.length];
    yield* next?.(request, new AbortController().signal) ?? [];
  };
  const messages: Anthropic.MessageParam[] = [{ role: "user", content: "Weather and time?" }];
  for (let turn = 0; turn < 3; turn++) {
    const message = await client.messages.stream({ ...HI, tools: TOOLS, messages }).finalMessage();
    messages.push({ role: "assistant", content: message.content });
    const calls = message.content.filter((block) => block.type === "tool_use");
    const content = calls.map((call): Anthropic.ToolResultBlockParam => {
      if (call.name === "clock")
        return { type: "tool_result", tool_use_id: call.id, content: "stopped", is_error: true };
      return { type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "rain" }] };
    });
    if (content.length > 0) messages.push({ role: "user", content });
    else expect(message).toMatchObject({ stop_reason: "end_turn", content: [{ text: "So: rain and Error: stopped" }] });
  }
  expect(messages).toHaveLength(6);
  expect(backend.last.prompt).toEqual({
    kind: "messages",
    messages: [
      { role: "user", content: "Weather and time?" },
      {
        role: "assistant",
        content: "",
        reasoning: "First",
        tool_calls: [{ id: "call_1", name: "weather", arguments: '{"city":"Oslo"}' }],
      },
      { role: "tool", content: "rain", tool_call_id: "call_1" },
      {
        role: "assistant",
        content: "",
        reasoning: null,
        tool_calls: [{ id: "call_2", name: "clock", arguments: "{}" }],
      },
      { role: "tool", content: "Error: stopped", tool_call_id: "call_2" },
    ],
  });
});

test("counts as many tokens as the usage then says", async () => {
  const { model, messages } = HI;
  const { input_tokens } = await client.messages.countTokens({ model, messages, system: "Be kind", tools: TOOLS });
  const counted = backend.last;
  const { usage } = await client.messages.create({ ...HI, system: "Be kind", tools: TOOLS });
  expect(input_tokens).toBe(usage.input_tokens + (usage.cache_read_input_tokens ?? 0));
  expect(backend.last.prompt).toEqual(counted.prompt);
  expect(backend.last.tools).toEqual(counted.tools);
});

test("lists the models and retrieves one, in Anthropic's form", async () => {
  const models = await Array.fromAsync(await client.models.list());
  expect(models.map(({ id }) => id)).toEqual(["tiny", "org/name"]);
  expect<unknown>(await client.models.retrieve("org/name")).toMatchObject({
    type: "model",
    display_name: "org/name",
    created_at: "2023-11-14T22:13:21.000Z",
  });
  expect((await errorOf(client.models.retrieve("none"))).type).toBe("not_found_error");
});

describe("an error reaches the client in its own form", () => {
  const failures: [FailureKind, number, string][] = [
    ["context_overflow", 400, "invalid_request_error"],
    ["forbidden", 403, "permission_error"],
    ["not_found", 404, "not_found_error"],
    ["too_large", 413, "request_too_large"],
    ["overloaded", 529, "overloaded_error"],
    ["no_memory", 503, "overloaded_error"],
    ["engine", 500, "api_error"],
    ["upstream_timeout", 504, "timeout_error"],
  ];
  for (const [kind, status, type] of failures) {
    test(kind, async () => {
      // biome-ignore lint/correctness/useYield: it fails before its first event
      script = async function* () {
        throw new Failure(kind, "Cannot go on: so it is");
      };
      for (const stream of [false, true]) {
        const error = await errorOf(client.messages.create({ ...HI, stream }));
        expect<unknown[]>([error.status, error.type]).toEqual([status, type]);
        expect(error.requestID).toMatch(/^req_[0-9a-f]{12}$/);
        expect(error.error).toMatchObject({ type: "error", request_id: error.requestID ?? "none" });
      }
    });
  }

  test("within a stream", async () => {
    script = async function* () {
      yield { kind: "start", prompt_tokens: 5 };
      yield said("Hel");
      throw new Failure("engine", "Cannot go on: it died");
    };
    const error = await errorOf(client.messages.stream(HI).finalMessage());
    expect([error.status, error.type]).toEqual([undefined, "api_error"]);
    expect(error.message).toContain("Cannot go on: it died");
  });
});
