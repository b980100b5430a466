/** The whole server from source on a real socket: real models, real MLX, the official client. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { BadRequestError, NotFoundError } from "openai";
import { f32Entry, safetensorsBytes } from "../formats/safetensors-bytes.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { fixture, prepareFixtures, STORIES } from "../models/fixtures.ts";
import { MODEL, Served } from "../served.ts";

const FRANCE = [{ role: "user", content: "What is the capital of France?" }] as const;

const ADAPTERS = scratchFolder();

let server: Served;
let url: string;
let client: OpenAI;

beforeAll(async () => {
  prepareFixtures();
  const stories = existsSync(STORIES) ? ["--model", STORIES, "--model", fixture("gguf-stories").path] : [];
  server = await Served.start(["--adapters", ADAPTERS, "--model", MODEL, ...stories]);
  ({ url } = server);
  client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
}, 120_000);

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

test("the capital of France is Paris", async () => {
  const chat = await client.chat.completions.create({ model: MODEL, messages: [...FRANCE] });
  expect(chat.choices[0]?.message.content).toContain("Paris");
  expect(chat.choices[0]?.finish_reason).toBe("stop");
  expect(chat.usage?.prompt_tokens).toBe(37);
}, 60_000);

test("a stream brings the same answer in pieces, with its usage last", async () => {
  const whole = await client.chat.completions.create({ model: MODEL, messages: [...FRANCE], temperature: 0 });
  const stream = await client.chat.completions.create({
    model: MODEL,
    messages: [...FRANCE],
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await Array.fromAsync(stream);
  const pieces = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").filter((piece) => piece !== "");
  expect(pieces.join("")).toBe(whole.choices[0]?.message.content ?? "");
  expect(pieces.length).toBeGreaterThan(4);
  expect(chunks.at(-1)?.usage?.total_tokens).toBe(whole.usage?.total_tokens ?? 0);
}, 60_000);

test("the same is told in Anthropic's protocol, whole, streamed and counted", async () => {
  const anthropic = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const asked = { model: MODEL, messages: [...FRANCE] };
  const { input_tokens } = await anthropic.messages.countTokens(asked);
  const whole = await anthropic.messages.create({ ...asked, max_tokens: 64, stop_sequences: ["aris"] });
  expect(whole).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: "aris" });
  const streamed = await anthropic.messages.stream({ ...asked, max_tokens: 64 }).finalMessage();
  expect(streamed).toMatchObject({ stop_reason: "end_turn", content: [{ text: expect.stringContaining("Paris") }] });
  for (const { usage } of [whole, streamed]) {
    expect([usage.input_tokens + (usage.cache_read_input_tokens ?? 0), input_tokens]).toEqual([37, 37]);
  }
  expect(streamed.usage.cache_read_input_tokens).toBeGreaterThan(0);
}, 60_000);

test("what is predicted changes no answer, and its usage says what of it came true", async () => {
  const messages = [{ role: "user", content: "Say the alphabet, letter by letter, with commas." }] as const;
  const asked = { model: MODEL, messages: [...messages], temperature: 0, max_tokens: 48 };
  const plain = await client.chat.completions.create(asked);
  const content = plain.choices[0]?.message.content ?? "";
  expect(plain.usage?.completion_tokens_details?.accepted_prediction_tokens).toBeUndefined();
  const ask = async (prediction: string) => {
    const told = await client.chat.completions.create({
      ...asked,
      prediction: { type: "content", content: prediction },
    });
    expect(told.choices[0]?.message.content).toBe(content);
    return told.usage?.completion_tokens_details;
  };
  const right = await ask(content);
  expect(right?.rejected_prediction_tokens).toBe(0);
  expect(right?.accepted_prediction_tokens).toBeGreaterThan(4);
  const wrong = await ask(content.replace(/[aeiou]/gi, "-"));
  expect(wrong?.accepted_prediction_tokens).toBeLessThan(right?.accepted_prediction_tokens ?? 0);
}, 60_000);

test("an answer goes on with what the last message has begun", async () => {
  const begun = [...FRANCE, { role: "assistant", content: "The capital of France is" }] as const;
  const anthropic = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const same = { model: MODEL, messages: [...begun], max_tokens: 8, temperature: 0 };
  const told = await anthropic.messages.create(same);
  expect(told.content).toMatchObject([{ text: expect.stringMatching(/^ Paris/) }]);
  const more = { continue_final_message: true, add_generation_prompt: false };
  const chat = await client.chat.completions.create({ ...same, ...more });
  expect<unknown>(told.content).toMatchObject([{ text: chat.choices[0]?.message.content }]);
}, 60_000);

test("the seed decides what is drawn", async () => {
  const say = async (seed: number) => {
    const messages = [{ role: "user", content: "Invent a name for a cat." }] as const;
    const chat = await client.chat.completions.create({
      model: MODEL,
      messages: [...messages],
      temperature: 1.2,
      max_tokens: 12,
      seed,
    });
    return chat.choices[0]?.message.content;
  };
  const [first, again, other] = [await say(1), await say(1), await say(2)];
  expect(again).toBe(first ?? "");
  expect(other).not.toBe(first ?? "");
}, 60_000);

test("an adapter that came while the server runs is asked for by its name, and unknown when it has gone", async () => {
  const say = async (model: string, adapter?: string) => {
    const asked = { model, prompt: "The capital of France is", temperature: 0, max_tokens: 12, adapter };
    return (await client.completions.create(asked)).choices[0]?.text;
  };
  const unknown = `404 Cannot use adapter "odd": it is not known here; known: none`;
  await expect(say(MODEL, "odd")).rejects.toThrow(unknown);
  const plain = await say(MODEL);
  const down = Float32Array.from({ length: 576 }, (_, column) => Math.cos(column));
  const up = new Float32Array(192).fill(0.5);
  const at = "model.layers.3.self_attn.v_proj.lora";
  const header = { [`${at}_a`]: f32Entry(0, 576, 1), [`${at}_b`]: f32Entry(4 * 576, 1, 192) };
  const bytes = safetensorsBytes(header, 4 * (576 + 192));
  bytes.set(new Uint8Array(Float32Array.of(...down, ...up).buffer), bytes.length - 4 * (576 + 192));
  write(join(ADAPTERS, "odd", "adapters.safetensors"), bytes);
  write(join(ADAPTERS, "odd", "adapter_config.json"), JSON.stringify({ lora_parameters: { scale: 2 } }));
  const odd = await say(`${MODEL}:odd`);
  expect(odd).not.toBe(plain ?? "");
  const ledger = (await (await fetch(`${url}/admin/ledger`)).json()) as { entries: unknown[] };
  const own = { model_id: MODEL, adapters_bytes: 4 * (576 + 192) };
  expect(ledger.entries).toContainEqual(expect.objectContaining(own));
  expect(await say(MODEL, "odd")).toBe(odd ?? "");
  expect(await say(MODEL)).toBe(plain ?? "");
  const profile = async (adapter: string) => {
    const body = JSON.stringify({ name: adapter, model: MODEL, adapter });
    const headers = { "content-type": "application/json" };
    return (await fetch(new URL("/api/profiles", client.baseURL), { method: "POST", headers, body })).status;
  };
  expect([await profile("odd"), await profile("even")]).toEqual([200, 400]);
  expect(await say("odd")).toBe(odd ?? "");
  await expect(say(`${MODEL}:odd`, "even")).rejects.toThrow(
    `400 Cannot use "adapter": "model" names "odd", found "even"`,
  );
  rmSync(join(ADAPTERS, "odd"), { recursive: true });
  await expect(say(MODEL, "odd")).rejects.toThrow(unknown);
}, 60_000);

test("an echoed prompt tells how likely its tokens were, as those that the model draws itself, cached or not", async () => {
  const asked = { model: MODEL, prompt: "The capital of France is", temperature: 0, logprobs: 2 };
  const drawn = await client.completions.create({ ...asked, max_tokens: 40 });
  const own = drawn.choices[0];
  const prompt = asked.prompt + (own?.text ?? "");
  for (let round = 0; round < 2; round++) {
    const whole = await client.completions.create({ ...asked, prompt, echo: true, max_tokens: 3 });
    const [choice] = whole.choices;
    const told = choice?.logprobs;
    expect(choice?.text).toStartWith(prompt);
    expect(told?.token_logprobs?.[0]).toBeNull();
    const count = own?.logprobs?.tokens?.length ?? 0;
    const echoed = whole.usage?.prompt_tokens ?? 0;
    expect(told?.tokens?.slice(echoed - count, echoed)).toEqual(own?.logprobs?.tokens ?? []);
    for (const [place, logprob] of (own?.logprobs?.token_logprobs ?? []).entries()) {
      expect(told?.token_logprobs?.[echoed - count + place]).toBeCloseTo(logprob, 2);
    }
    const offsets = told?.text_offset ?? [];
    for (const [place, token] of (told?.tokens ?? []).entries()) {
      expect((choice?.text ?? "").slice(offsets[place], (offsets[place] ?? 0) + token.length)).toBe(token);
    }
  }
}, 60_000);

test("text from a stop string on is never sent", async () => {
  const chat = await client.chat.completions.create({
    model: MODEL,
    messages: [...FRANCE],
    temperature: 0,
    stop: ["nce is"],
  });
  expect(chat.choices[0]?.message.content).toBe("The capital of Fra");
  expect(chat.choices[0]?.finish_reason).toBe("stop");
}, 60_000);

test("the client lists and finds models", async () => {
  const names = (await client.models.list()).data.map((model) => model.id);
  expect(names).toContain(MODEL);
  expect((await client.models.retrieve(MODEL)).id).toBe(MODEL);
});

test("an aborted stream frees the engine for the next request", async () => {
  const stream = await client.chat.completions.create({
    model: MODEL,
    messages: [{ role: "user", content: "Count from 1 to 500." }],
    stream: true,
  });
  for await (const _ of stream) stream.controller.abort();
  const next = await client.chat.completions.create({ model: MODEL, messages: [...FRANCE] });
  expect(next.choices[0]?.message.content).toContain("Paris");
}, 60_000);

test("the client's own error classes are thrown", async () => {
  const unknown = client.chat.completions.create({ model: "none-such", messages: [...FRANCE] });
  expect(await unknown.catch((error: unknown) => error)).toBeInstanceOf(NotFoundError);
  const audio = { voice: "alloy", format: "wav" } as const;
  const refused = client.chat.completions.create({ model: MODEL, messages: [...FRANCE], audio });
  const error = await refused.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BadRequestError);
  expect((error as BadRequestError).param).toBe("audio");
});

test("a prompt longer than the context is refused with the numbers", async () => {
  const content = "word ".repeat(9000);
  const refused = client.chat.completions.create({ model: MODEL, messages: [{ role: "user", content }] });
  const error = (await refused.catch((thrown: unknown) => thrown)) as BadRequestError;
  expect(error.code).toBe("context_length_exceeded");
  expect(error.message).toContain(`"${MODEL}" takes 8192 with the answer`);
}, 60_000);

test("a prompt of megabytes is refused without being read", async () => {
  const refused = client.completions.create({ model: MODEL, prompt: "a".repeat(5_000_000) });
  const error = (await refused.catch((thrown: unknown) => thrown)) as BadRequestError;
  expect(error.code).toBe("context_length_exceeded");
  const state = `prompt is too long: 61729 tokens > 8191 maximum: it has 5000000 bytes of text, a token at most 81`;
  expect(error.message).toContain(`Cannot fit the prompt: ${state}, and "${MODEL}" takes 8192 with the answer`);
}, 60_000);

test("several requests at once are all answered, each with its own words", async () => {
  const ask = (content: string) =>
    client.chat.completions.create({
      model: MODEL,
      messages: [{ role: "user", content }],
      temperature: 0,
      max_tokens: 12,
    });
  const questions = [
    "What is the capital of France?",
    "What is the capital of Italy?",
    "What is the capital of Spain?",
  ];
  const alone: (string | null | undefined)[] = [];
  for (const question of questions) alone.push((await ask(question)).choices[0]?.message.content);
  const together = await Promise.all(questions.map(ask));
  expect(together.map((chat) => chat.choices[0]?.message.content)).toEqual(alone);
}, 60_000);

test("token ids beyond the vocabulary are refused", async () => {
  const refused = client.completions.create({ model: MODEL, prompt: [1, 2, 49_152] });
  const error = (await refused.catch((thrown: unknown) => thrown)) as BadRequestError;
  expect(error).toBeInstanceOf(BadRequestError);
  expect(error.message).toContain("has 49152 tokens, found token 49152");
});

describe.skipIf(!existsSync(STORIES))("stories260K", () => {
  const known = () => JSON.parse(readFileSync(join(STORIES, "known-answer.json"), "utf8")).text as string;

  for (const [form, name] of [
    ["a folder", "stories260K"],
    ["a GGUF file", "model"],
  ] as const) {
    test(`from ${form} tells its known story, token by token`, async () => {
      const stream = await client.completions.create({
        model: name,
        prompt: "",
        temperature: 0,
        max_tokens: 240,
        stream: true,
      });
      const pieces = (await Array.fromAsync(stream)).map((chunk) => chunk.choices[0]?.text ?? "");
      expect(pieces.join("").slice(0, known().length)).toBe(known());
      expect(pieces.filter((piece) => piece !== "").length).toBeGreaterThan(150);
    }, 60_000);

    test(`from ${form} gives the same story whole, and for token ids`, async () => {
      const ask = (prompt: string | number[]) =>
        client.completions.create({ model: name, prompt, temperature: 0, max_tokens: 240 });
      const [text, tokens] = await Promise.all([ask(""), ask([1])]);
      expect(text.choices[0]?.text.startsWith(known())).toBe(true);
      expect(tokens.choices[0]?.text.trimStart().startsWith(known())).toBe(true);
    }, 60_000);
  }

  test("has no chat template and says so", async () => {
    const refused = client.chat.completions.create({ model: "stories260K", messages: [...FRANCE] });
    const error = (await refused.catch((thrown: unknown) => thrown)) as BadRequestError;
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error.message).toContain("chat template");
  });
});
