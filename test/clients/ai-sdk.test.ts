/** Vercel's AI SDK, unmodified, by its providers for two of the protocols. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, isStepCount, jsonSchema, type LanguageModel, Output, streamText, tool } from "ai";
import { scratchFolder } from "../formats/scratch.ts";
import { MODEL } from "../served.ts";
import { ANSWER, TURNS } from "./conversation.ts";
import { TwoServers } from "./two-servers.ts";

const CAPITAL = "What is the capital of France?";
const FOLDER = scratchFolder();

let servers: TwoServers;

beforeAll(async () => {
  servers = await TwoServers.start(FOLDER);
}, 120_000);

afterAll(async () => await servers[Symbol.asyncDispose]());

type Provider = (url: string) => (name: string) => LanguageModel;

const compatible = (url: string) =>
  createOpenAICompatible({ name: "bunsen", baseURL: `${url}/v1`, supportsStructuredOutputs: true });

const PROVIDERS: readonly { readonly protocol: string; readonly provider: Provider }[] = [
  { protocol: "openai", provider: compatible },
  { protocol: "anthropic", provider: (url) => createAnthropic({ baseURL: `${url}/v1`, apiKey: "none" }) },
];

describe.each([...PROVIDERS])("$protocol", ({ provider }) => {
  const asked = (called: unknown[]) => {
    const note = (name: string, result: string) => async (input: unknown) => {
      called.push([name, input]);
      return result;
    };
    const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] } as const;
    const weather = tool({ inputSchema: jsonSchema(city), execute: note("weather", "12 degrees") });
    const clock = tool({
      inputSchema: jsonSchema({ type: "object", properties: {} }),
      execute: note("clock", "10:30"),
    });
    const model = provider(servers.scripted_url)("tiny");
    const limits = { stopWhen: isStepCount(5), maxOutputTokens: 500, maxRetries: 0 };
    return { model, prompt: "What is the weather?", tools: { weather, clock }, ...limits };
  };
  const both = [
    ["weather", { city: "Oslo" }],
    ["clock", {}],
  ];

  test("uses two tools, one after the other, and says what came of them", async () => {
    servers.scripted.answers.push(...TURNS);
    const called: unknown[] = [];
    expect((await generateText(asked(called))).text).toBe(ANSWER);
    expect(called).toEqual(both);
  });

  test("does the same in a stream", async () => {
    servers.scripted.answers.push(...TURNS);
    const called: unknown[] = [];
    const { textStream } = streamText(asked(called));
    const said = (await Array.fromAsync(textStream)).join("");
    expect(said).toEndWith(ANSWER);
    expect(called).toEqual(both);
  });

  test("chats with the default model, whole and in a stream", async () => {
    const asked = { model: provider(servers.real.url)(MODEL), prompt: CAPITAL, maxOutputTokens: 24, maxRetries: 0 };
    const { text, usage, finishReason } = await generateText(asked);
    expect(text).toContain("Paris");
    expect([usage.inputTokens, finishReason]).toEqual([37, "stop"]);
    expect((await Array.fromAsync(streamText(asked).textStream)).join("")).toBe(text);
  });

  test("has an answer in the form of a schema", async () => {
    const schema = jsonSchema<{ city: string }>({
      type: "object",
      properties: { city: { type: "string", maxLength: 20 } },
      required: ["city"],
      additionalProperties: false,
    });
    const asked = { model: provider(servers.real.url)(MODEL), prompt: CAPITAL, maxOutputTokens: 60, maxRetries: 0 };
    const { output } = await generateText({ ...asked, output: Output.object({ schema }) });
    expect(output).toEqual({ city: expect.any(String) });
  });
});

test("embeds", async () => {
  const model = compatible(servers.real.url).embeddingModel("all-MiniLM-L6-v2");
  expect((await embed({ model, value: "Paris" })).embedding).toHaveLength(384);
});
