/**
 * A real second Bunsen as a provider, once as OpenAI and once as Anthropic: official clients get from it through the
 * first what it says itself.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { scratchFolder } from "../formats/scratch.ts";
import { minilm } from "../models/encoder-files.ts";
import { type House, openHouse, until } from "../route/house.ts";
import { MODEL, Served } from "../served.ts";

const FOLDER = scratchFolder();
const FRANCE = [{ role: "user", content: "What is the capital of France?" }] as const;
const CITY = { type: "object", properties: { city: { enum: ["Oslo", "Rome"] } }, required: ["city"] } as const;

let second: Served;
let url: string;
let first: House;

beforeAll(async () => {
  second = await Served.start(["--model", MODEL, "--model", minilm()]);
  ({ url } = second);
  first = openHouse({ folder: join(FOLDER, "first") });
  for (const api_type of ["openai", "anthropic"]) {
    await first.set("providers", { name: `as-${api_type}`, api_type, base_url: `${url}/v1`, backend_type: "cloud" });
    const rule = { model_pattern: `${api_type}:*`, pattern_type: "glob", target: `as-${api_type}` };
    await first.set("rules", { ...rule, target_model: MODEL });
  }
}, 120_000);

afterAll(async () => {
  await first.close();
  expect(await second.stop()).toBe(0);
});

const openai = (base: string) => new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
const anthropic = (base: string) => new Anthropic({ baseURL: base, apiKey: "none", maxRetries: 0 });

for (const provider of ["openai", "anthropic"] as const) {
  describe(`as a provider of ${provider}'s protocol`, () => {
    const far = `${provider}:far`;

    test("it answers chats, whole and streamed", async () => {
      const said = async (client: OpenAI, model: string) => {
        const asked = { model, messages: [...FRANCE], temperature: 0, max_tokens: 12 };
        const { choices, usage } = await client.chat.completions.create(asked);
        const streamed = await client.chat.completions.create({
          ...asked,
          stream: true,
          stream_options: { include_usage: true },
        });
        const chunks = await Array.fromAsync(streamed);
        const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
        const counts = [usage, chunks.at(-1)?.usage].map((usage) => [usage?.prompt_tokens, usage?.completion_tokens]);
        return [choices[0]?.message.content, choices[0]?.finish_reason, text, counts];
      };
      const own = await said(openai(url), MODEL);
      expect(own[0]).toContain("Paris");
      expect(await said(openai(first.url), far)).toEqual(own);
    }, 60_000);

    test("it answers messages, whole and streamed", async () => {
      const said = async (client: Anthropic, model: string) => {
        const asked = { model, messages: [...FRANCE], temperature: 0, max_tokens: 12, stop_sequences: ["."] };
        const whole = await client.messages.create(asked);
        const streamed = await client.messages.stream(asked).finalMessage();
        return [whole, streamed].map(({ content, stop_reason, stop_sequence, usage }) => {
          const block = content[0]?.type === "text" ? content[0].text : null;
          const input = usage.input_tokens + (usage.cache_read_input_tokens ?? 0);
          // OpenAI's protocol does not tell which text has ended an answer.
          const end = provider === "openai" ? null : [stop_reason, stop_sequence];
          return [block, end, input, usage.output_tokens];
        });
      };
      const own = await said(anthropic(url), MODEL);
      expect(own[0]?.[0]).toContain("Paris");
      expect(await said(anthropic(first.url), far)).toEqual(own);
    }, 60_000);

    test("it calls a tool, whose result goes back to it", async () => {
      const tools = [{ type: "function", function: { name: "weather", parameters: CITY } } as const];
      const asked = { messages: [{ role: "user", content: "Weather in Rome?" } as const], tools, max_tokens: 60 };
      const said = async (client: OpenAI, model: string) => {
        const wishes = { ...asked, model, temperature: 0, tool_choice: "required" } as const;
        const { choices } = await client.chat.completions.create(wishes);
        const message = choices[0]?.message;
        const [call] = message?.tool_calls ?? [];
        if (call?.type !== "function" || message === undefined) throw new Error("There is no call");
        const result = { role: "tool", tool_call_id: call.id, content: "rain" } as const;
        const messages = [...asked.messages, message, result];
        const answer = await client.chat.completions.create({ ...asked, model, temperature: 0, messages });
        return [call.function, choices[0]?.finish_reason, answer.choices[0]?.message.content];
      };
      const own = await said(openai(url), MODEL);
      expect(JSON.parse((own[0] as { arguments: string }).arguments)).toHaveProperty("city");
      expect(await said(openai(first.url), far)).toEqual(own);
    }, 60_000);
  });
}

test("it completes texts and makes vectors under rules, prices and labels like any chat", async () => {
  const price = { pattern: "*", prompt_per_million: 1, completion_per_million: 1, currency: "USD" };
  await first.send("PUT", "/api/settings/prices", { prices: [price] });
  const rule = { model_pattern: "vectors", pattern_type: "exact", target: "as-openai" };
  await first.set("rules", { ...rule, target_model: "all-MiniLM-L6-v2" });
  const asked = { prompt: "The capital of France is", temperature: 0, max_tokens: 3 };
  const text = async (base: string, model: string) =>
    (await openai(base).completions.create({ ...asked, model })).choices[0]?.text;
  expect(await text(first.url, "openai:far")).toBe((await text(url, MODEL)) ?? "");
  const stream = await openai(first.url).completions.create({ ...asked, model: "openai:far", stream: true });
  const pieces = (await Array.fromAsync(stream)).map(({ choices }) => choices[0]?.text ?? "");
  expect(pieces.join("")).toBe((await text(url, MODEL)) ?? "");
  const vector = async (base: string, model: string) =>
    (await openai(base).embeddings.create({ model, input: "hello" })).data[0]?.embedding;
  expect(await vector(first.url, "vectors")).toEqual(await vector(url, "all-MiniLM-L6-v2"));
  await until(() => first.rows().some(({ endpoint }) => endpoint === "embeddings"));
  expect(first.rows().slice(-3)).toMatchObject([
    { endpoint: "completions", backend: "as-openai", completion_tokens: 3, cost: expect.any(Number) },
    { endpoint: "completions", backend: "as-openai" },
    { endpoint: "embeddings", model_served: "all-MiniLM-L6-v2", prompt_tokens: 3, completion_tokens: 0, cost: 3e-6 },
  ]);
  const kept = { headers: { "x-bunsen-privacy": "local-only" } };
  for (const [path, body] of [
    ["/v1/embeddings", { model: "vectors", input: "hello" }],
    ["/v1/completions", { ...asked, model: "openai:far" }],
    ["/v1/completions", { ...asked, model: "openai:far", stream: true }],
  ] as const) {
    expect((await first.send("POST", path, body, kept)).status).toBe(403);
  }
  const elsewhere = await first.send("POST", "/v1/embeddings", { model: "as-anthropic:m", input: "hello" });
  expect([elsewhere.status, await elsewhere.text()]).toEqual([400, expect.stringContaining("embeddings")]);
}, 60_000);
