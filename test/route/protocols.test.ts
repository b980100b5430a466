/** Calls, results and thoughts on their way between callers and providers of two protocols. */

import { describe, expect, test } from "bun:test";
import type { Call } from "../../src/core/exchange.ts";
import { newTrace } from "../../src/core/exchange.ts";
import type { GenerationEvent, GenerationRequest, Message } from "../../src/core/generation.ts";
import { PLAIN_ANSWER } from "../../src/core/generation.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { closedAfterEach, openHouse } from "./house.ts";
import { strictAnthropic } from "./strict-anthropic.ts";
import { HAS_SCHEMAS, strictOpenai } from "./strict-openai.ts";

const FOLDER = scratchFolder();
const KEY = "sk-live-77";
const open = closedAfterEach();

let houses = 0;
async function houseWith(api_type: "openai" | "anthropic", base_url: string) {
  const house = openHouse({ folder: `${FOLDER}/${houses++}` });
  open.push(house.close);
  await house.set("providers", { name: "far", api_type, base_url, api_key: KEY, backend_type: "cloud" });
  const ask = async (wishes: Partial<GenerationRequest>): Promise<GenerationEvent[]> => {
    const request = { ...PLAIN_ANSWER, request_id: "req_1", model: "far:m", ...wishes } as GenerationRequest;
    const call: Call = {
      request_id: "req_1",
      protocol: api_type === "openai" ? "anthropic" : "openai",
      endpoint: api_type === "openai" ? "messages" : "chat",
      model: "far:m",
      body: "{}",
      is_whole: true,
      stream: true,
      headers: {},
      local_only: null,
      neutral: () => ({ kind: "generation", generations: [request] }),
    };
    const reply = await house.router.open(call, newTrace(), new AbortController().signal);
    if (reply.kind !== "events") throw new Error(`Not events but ${reply.kind}`);
    const events: GenerationEvent[] = [];
    for (let next = await reply.events.next(); next.done !== true; next = await reply.events.next())
      events.push(next.value);
    return events;
  };
  return { ...house, ask };
}

const schema = { type: "object", properties: { city: { type: "string" } } };
const tools = [
  { name: "weather", description: "Tells it", parameters: schema, strict: false },
  { name: "clock", description: null, parameters: { type: "object" }, strict: false },
];

test("a provider of Anthropic's thinks and calls, is given the results with its own signed thought, and answers", async () => {
  const server = strictAnthropic(KEY);
  open.push(server.stop);
  const { ask } = await houseWith("anthropic", server.base_url);
  const user: Message = { role: "user", content: "Weather?" };
  const wishes = { tools, stop: ["END"], reasoning: { effort: null, tokens_max: 2048 } } as const;
  const first = await ask({ ...wishes, prompt: { kind: "messages", messages: [user] } });
  const call = { kind: "call", choice: 0 } as const;
  const json = { kind: "arguments", choice: 0 } as const;
  expect(first.filter(({ kind }) => kind !== "end")).toEqual([
    { kind: "start", prompt_tokens: 13 },
    { kind: "reasoning", choice: 0, text: "I need " },
    { kind: "reasoning", choice: 0, text: "the clock" },
    { ...call, index: 0, id: "toolu_1", name: "weather" },
    { ...json, index: 0, text: '{"city":' },
    { ...json, index: 0, text: ' "Oslo"}' },
    { ...call, index: 1, id: "toolu_2", name: "clock" },
    { ...json, index: 1, text: "{}" },
    { kind: "finish", choice: 0, reason: "tool_calls", stop_text: null },
  ]);
  const messages: Message[] = [
    { role: "system", content: "Be kind" },
    user,
    {
      role: "assistant",
      content: "",
      reasoning: "I need the clock",
      tool_calls: [
        { id: "toolu_1", name: "weather", arguments: '{"city": "Oslo"}' },
        { id: "toolu_2", name: "clock", arguments: "" },
      ],
    },
    { role: "tool", content: "rain", tool_call_id: "toolu_1" },
    { role: "tool", content: "noon", tool_call_id: "toolu_2" },
    { role: "user", content: "Well?" },
  ];
  const second = await ask({ ...wishes, prompt: { kind: "messages", messages } });
  expect(second).toContainEqual({ kind: "finish", choice: 0, reason: "stop", stop_text: "END" });
  expect(server.bodies[1]).toMatchObject({
    system: "Be kind",
    max_tokens: 4096 + 2048,
    thinking: { type: "enabled", budget_tokens: 2048 },
    tools: [{ name: "weather", input_schema: schema }, { name: "clock" }],
    tool_choice: { type: "auto" },
    messages: [
      { role: "user", content: "Weather?" },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "I need the clock", signature: "EqQBCkgIARABGAIiQ" },
          { type: "tool_use", id: "toolu_1", input: { city: "Oslo" } },
          { type: "tool_use", id: "toolu_2", input: {} },
        ],
      },
      {
        role: "user",
        content: [{ tool_use_id: "toolu_1", content: "rain" }, { tool_use_id: "toolu_2" }, { text: "Well?" }],
      },
    ],
  });
});

test("choices of tools and efforts have Anthropic's words", async () => {
  const server = strictAnthropic(KEY);
  open.push(server.stop);
  const { ask } = await houseWith("anthropic", server.base_url);
  const prompt = { kind: "messages", messages: [{ role: "user", content: "hi" }] } as const;
  await ask({ prompt, tools, tool_choice: { kind: "named", name: "clock" }, parallel_tool_calls: false });
  await ask({ prompt, tools, tool_choice: { kind: "required" }, reasoning: { effort: "minimal", tokens_max: null } });
  await ask({ prompt, tools, tool_choice: { kind: "none" }, reasoning: { effort: "none", tokens_max: null } });
  expect(server.bodies).toMatchObject([
    { tool_choice: { type: "tool", name: "clock", disable_parallel_tool_use: true } },
    { tool_choice: { type: "any" }, thinking: { type: "adaptive" }, output_config: { effort: "low" } },
    { tool_choice: { type: "none" }, thinking: { type: "disabled" } },
  ]);
});

describe.skipIf(!HAS_SCHEMAS)("a caller of Anthropic's protocol, answered by a provider of OpenAI's", () => {
  test("reads its thought and its call, and its results arrive there", async () => {
    const server = strictOpenai(KEY);
    open.push(server.stop);
    const { send } = await houseWith("openai", server.base_url);
    const asked = {
      model: "far:gpt",
      max_tokens: 50,
      system: "Be kind",
      stop_sequences: ["END"],
      thinking: { type: "enabled", budget_tokens: 5000 },
      tools: [{ name: "weather", input_schema: schema, cache_control: { type: "ephemeral" } }],
      tool_choice: { type: "any", disable_parallel_tool_use: true },
      messages: [{ role: "user", content: "Weather?" }],
    };
    const first = (await (await send("POST", "/v1/messages", asked)).json()) as { content: object[] };
    expect(first).toMatchObject({
      content: [
        { type: "thinking", thinking: "hmm" },
        { type: "tool_use", id: "call_1", name: "weather", input: { city: "Oslo" } },
      ],
      stop_reason: "tool_use",
      usage: { input_tokens: 17, cache_read_input_tokens: 64, output_tokens: 17 },
    });
    const result = { type: "tool_result", tool_use_id: "call_1", content: "rain", is_error: true };
    const messages = [
      ...asked.messages,
      { role: "assistant", content: first.content },
      { role: "user", content: [result, { type: "text", text: "Well?" }] },
    ];
    const second = await send("POST", "/v1/messages", { ...asked, messages });
    expect(second.status).toBe(200);
    expect(JSON.parse(server.arrived[1]?.body ?? "")).toMatchObject({
      max_tokens: 50,
      stop: ["END"],
      reasoning_effort: "medium",
      tools: [{ type: "function", function: { name: "weather", parameters: schema } }],
      tool_choice: "required",
      parallel_tool_calls: false,
      messages: [
        { role: "system", content: "Be kind" },
        { role: "user", content: "Weather?" },
        {
          role: "assistant",
          content: null,
          reasoning_content: "hmm",
          tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } }],
        },
        { role: "tool", content: "Error: rain", tool_call_id: "call_1" },
        { role: "user", content: "Well?" },
      ],
    });
    const counted = await send("POST", "/v1/messages/count_tokens", { model: "far:gpt", messages: asked.messages });
    expect([counted.status, await counted.text()]).toEqual([400, expect.stringContaining("count_tokens")]);
  });
});

test("images go to a provider of the other protocol, in their places", async () => {
  const url = { kind: "url", url: "https://example.com/a.png" } as const;
  const data = { kind: "data", media_type: "image/png", base64: "iVBORw0KGgo=" } as const;
  const images = [
    { at: 5, source: url },
    { at: 5, source: data },
  ];
  const prompt = { kind: "messages", messages: [{ role: "user", content: "Look: what?", images }] } as const;
  const anthropic = strictAnthropic(KEY);
  open.push(anthropic.stop);
  await (await houseWith("anthropic", anthropic.base_url)).ask({ prompt });
  expect(anthropic.bodies[0]).toMatchObject({
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "Look:" },
          { type: "image", source: { type: "url", url: url.url } },
          { type: "image", source: { type: "base64", media_type: "image/png", data: data.base64 } },
          { type: "text", text: " what?" },
        ],
      },
    ],
  });
  const openai = strictOpenai(KEY);
  open.push(openai.stop);
  await (await houseWith("openai", openai.base_url)).ask({ prompt });
  expect(JSON.parse(openai.arrived[0]?.body ?? "")).toMatchObject({
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "Look:" },
          { type: "image_url", image_url: { url: url.url } },
          { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } },
          { type: "text", text: " what?" },
        ],
      },
    ],
  });
});

test("an answer that goes on with the last message does so at a provider, in the words that it has for that", async () => {
  const last: Message = { role: "assistant", content: "One, two", reasoning: null, tool_calls: [] };
  const messages: Message[] = [{ role: "user", content: "Count" }, last];
  const anthropic = strictAnthropic(KEY);
  open.push(anthropic.stop);
  const { ask } = await houseWith("anthropic", anthropic.base_url);
  await ask({ prompt: { kind: "messages", messages, ends: "begun" } });
  expect(anthropic.bodies[0]).toMatchObject({
    messages: [{ role: "user" }, { role: "assistant", content: "One, two" }],
  });
  for (const ends of ["answer", "bare"] as const) {
    const asked = ask({ prompt: { kind: "messages", messages, ends } });
    await expect(asked).rejects.toMatchObject({ kind: "unsupported" });
  }
  const openai = strictOpenai(KEY);
  open.push(openai.stop);
  const house = await houseWith("openai", openai.base_url);
  const told: unknown[] = [];
  for (const ends of ["answer", "bare", "begun"] as const) {
    await house.ask({ prompt: { kind: "messages", messages, ends } }).catch(() => undefined); // OpenAI's own has no such parameter
    const { continue_final_message, add_generation_prompt } = JSON.parse(openai.arrived.at(-1)?.body ?? "");
    told.push([continue_final_message, add_generation_prompt]);
  }
  expect(told).toEqual([
    [undefined, undefined],
    [undefined, false],
    [true, false],
  ]);
});

test("what a tool has seen goes to a provider that takes it, and is refused for one that does not", async () => {
  const source = { kind: "data", media_type: "image/png", base64: "iVBORw0KGgo=" } as const;
  const call = { id: "a", name: "look", arguments: "{}" };
  const messages: Message[] = [
    { role: "user", content: "Look" },
    { role: "assistant", content: "", reasoning: null, tool_calls: [call] },
    { role: "tool", content: "So:", tool_call_id: "a", images: [{ at: 3, source }] },
  ];
  const prompt = { kind: "messages", messages } as const;
  const anthropic = strictAnthropic(KEY);
  open.push(anthropic.stop);
  await (await houseWith("anthropic", anthropic.base_url)).ask({ prompt, tools });
  expect(anthropic.bodies[0]).toMatchObject({
    messages: [{}, {}, { content: [{ content: [{ type: "text", text: "So:" }, { type: "image" }] }] }],
  });
  const openai = strictOpenai(KEY);
  open.push(openai.stop);
  const { ask } = await houseWith("openai", openai.base_url);
  await expect(ask({ prompt, tools })).rejects.toMatchObject({ kind: "unsupported", parameter: "messages" });
});
