/** Chat completions and completions through the front door. */

import { describe, expect, test } from "bun:test";
import { ALL_TOKENS, PLAIN_ANSWER } from "../../src/core/generation.ts";
import { PRIORITY } from "../../src/core/priority.ts";
import { hello, readEvents, ScriptedBackend, saying, serverOf, USAGE, USAGE_BODY } from "./scripted-backend.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const HEAD = { created: 1_763_000_000, model: "tiny", system_fingerprint: "bunsen-1.2.3" };

function fresh() {
  const backend = new ScriptedBackend();
  return { backend, ...serverOf(backend) };
}

test("an answer can be sent back as it came, as part of the next request", async () => {
  const { post, backend } = fresh();
  const first = (await (await post(CHAT, HI)).json()) as { choices: { message: object }[] };
  const messages = [...HI.messages, first.choices[0]?.message, { role: "user", content: "And then?" }];
  expect(messages[1]).toHaveProperty("refusal", null);
  expect((await post(CHAT, { ...HI, messages })).status).toBe(200);
  expect(backend.last.prompt).toEqual({
    kind: "messages",
    messages: [
      { role: "user", content: "hi" },
      { role: "assistant", content: "Hello, wörld", reasoning: null, tool_calls: [] },
      { role: "user", content: "And then?" },
    ],
  });
});

describe("an answer", () => {
  test("a chat is one message with a finish reason and the usage", async () => {
    const response = await fresh().post(CHAT, HI);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      ...HEAD,
      id: "chatcmpl-000000000001",
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hello, wörld", refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: USAGE_BODY,
    });
  });

  test("a completion is one text", async () => {
    const response = await fresh().post(COMPLETIONS, { model: "tiny", prompt: "Say" });
    expect(await response.json()).toEqual({
      ...HEAD,
      id: "cmpl-000000000001",
      object: "text_completion",
      choices: [{ index: 0, text: "Hello, wörld", logprobs: null, finish_reason: "stop" }],
      usage: USAGE_BODY,
    });
  });

  test("one that was cut says length", async () => {
    const { post } = serverOf(
      new ScriptedBackend(async function* () {
        yield { kind: "start", prompt_tokens: 5 };
        yield { kind: "finish", choice: 0, reason: "length", stop_text: null };
        yield { kind: "end", usage: USAGE };
      }),
    );
    const chat = await (await post(CHAT, HI)).json();
    expect(chat).toMatchObject({ choices: [{ finish_reason: "length", message: { content: "" } }] });
    const [, last] = (await readEvents(await post(CHAT, { ...HI, stream: true }))) as { choices: unknown[] }[];
    expect(last?.choices).toEqual([{ index: 0, delta: {}, logprobs: null, finish_reason: "length" }]);
  });
});

describe("a stream", () => {
  const choices = [
    {
      index: 0,
      delta: { role: "assistant", content: "" },
      logprobs: null,
      finish_reason: null,
    },
    { index: 0, delta: { content: "Hello" }, logprobs: null, finish_reason: null },
    { index: 0, delta: { content: ", wörld" }, logprobs: null, finish_reason: null },
    { index: 0, delta: {}, logprobs: null, finish_reason: "stop" },
  ];
  const head = { ...HEAD, id: "chatcmpl-000000000001", object: "chat.completion.chunk" };

  test("is a role chunk, the texts, a finish chunk and [DONE]", async () => {
    const response = await fresh().post(CHAT, { ...HI, stream: true });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-cache");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    expect(await readEvents(response)).toEqual([
      ...choices.map((choice) => ({ ...head, choices: [choice] })),
      "[DONE]",
    ]);
  });

  test("with include_usage ends with a chunk that has a usage and no choice; the others have a null one", async () => {
    const body = { ...HI, stream: true, stream_options: { include_usage: true } };
    expect(await readEvents(await fresh().post(CHAT, body))).toEqual([
      ...choices.map((choice) => ({ ...head, choices: [choice], usage: null })),
      { ...head, choices: [], usage: USAGE_BODY },
      "[DONE]",
    ]);
  });

  test("with include_obfuscation has pieces padded to sizes that tell little, which say the same", async () => {
    const padded = { ...HI, stream: true, stream_options: { include_obfuscation: true } };
    for (const [path, body, is_padded] of [
      [CHAT, padded, () => true],
      [COMPLETIONS, { ...padded, messages: undefined, prompt: "Say" }, () => true],
      ["/v1/responses", { ...padded, messages: undefined, input: "Hi" }, (type: string) => type.endsWith(".delta")],
    ] as const) {
      const read = async (more: object) => {
        const text = await (await fresh().post(path, { ...body, ...more })).text();
        return [...text.matchAll(/^data: (\{.*)$/gm)].map(([, data = ""]) => data);
      };
      const [pieces, plain] = [await read({}), await read({ stream_options: {} })];
      const parsed = pieces.map((piece) => JSON.parse(piece));
      expect(parsed.map(({ obfuscation, ...piece }) => piece)).toEqual(plain.map((piece) => JSON.parse(piece)));
      const sizes = pieces.filter((_, index) => is_padded(parsed[index].type)).map((piece) => Buffer.byteLength(piece));
      expect(sizes.length).toBeGreaterThan(1);
      expect(sizes.filter((size) => size % 64 !== 0)).toEqual([]);
      expect(parsed.filter(({ obfuscation }) => /^[\w-]+$/.test(obfuscation ?? ""))).toHaveLength(sizes.length);
    }
  });

  test("with include_usage: false has none", async () => {
    const body = { ...HI, stream: true, stream_options: { include_usage: false } };
    expect(await readEvents(await fresh().post(CHAT, body))).toHaveLength(choices.length + 1);
  });

  test("of a completion is the texts, a finish chunk and [DONE]", async () => {
    const body = { model: "tiny", prompt: "Say", stream: true, stream_options: { include_usage: true } };
    const completion_head = { ...HEAD, id: "cmpl-000000000001", object: "text_completion" };
    const texts = [
      { index: 0, text: "Hello", logprobs: null, finish_reason: null },
      { index: 0, text: ", wörld", logprobs: null, finish_reason: null },
      { index: 0, text: "", logprobs: null, finish_reason: "stop" },
    ];
    expect(await readEvents(await fresh().post(COMPLETIONS, body))).toEqual([
      ...texts.map((choice) => ({ ...completion_head, choices: [choice], usage: null })),
      { ...completion_head, choices: [], usage: USAGE_BODY },
      "[DONE]",
    ]);
  });

  test("sends each text when the backend has it, not when the answer is whole", async () => {
    const gate = Promise.withResolvers<void>();
    const { post } = serverOf(
      new ScriptedBackend(async function* () {
        for await (const event of hello()) {
          if (event.kind === "finish") await gate.promise;
          yield event;
        }
      }),
    );
    const response = await post(CHAT, { ...HI, stream: true });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const parts = [await reader?.read(), await reader?.read(), await reader?.read()];
    expect(parts.map((part) => part?.value)).toEqual([
      expect.stringContaining('"role":"assistant"'),
      expect.stringContaining('"Hello"'),
      expect.stringContaining('", wörld"'),
    ]);
    gate.resolve();
    expect((await reader?.read())?.value).toContain('"finish_reason":"stop"');
  });
});

test("a stream that nobody reads makes no event but its first, and cancelling it ends the generation", async () => {
  const { backend, post } = fresh();
  const response = await post(CHAT, { ...HI, stream: true });
  await Bun.sleep(10);
  expect(backend.events).toBe(1);
  await response.body?.cancel();
  await Bun.sleep(10);
  expect({ ...backend }).toMatchObject({ events: 1, aborted: 1, closed: 1 });
});

describe("what the backend is asked", () => {
  async function asked(path: string, body: object) {
    const backend = new ScriptedBackend(saying);
    const response = await serverOf(backend).post(path, body);
    expect(await response.text()).not.toContain("error");
    return backend.last;
  }

  test("a bare chat leaves everything to the model", async () => {
    expect(await asked(CHAT, HI)).toEqual({
      request_id: "req_000000000001",
      model: "tiny",
      prompt: { kind: "messages", messages: [{ role: "user", content: "hi" }] },
      ...PLAIN_ANSWER,
    });
  });

  test.each([
    [null, PRIORITY.normal],
    ["auto", PRIORITY.normal],
    ["default", PRIORITY.normal],
    ["flex", PRIORITY.low],
    ["priority", PRIORITY.high],
  ])("service_tier %p is a priority", async (service_tier, priority) => {
    expect((await asked(CHAT, { ...HI, service_tier })).priority).toBe(priority);
  });

  test("a bare completion has OpenAI's limit of 16 tokens", async () => {
    const { prompt, tokens_max } = await asked(COMPLETIONS, { model: "tiny", prompt: "" });
    expect({ prompt, tokens_max }).toEqual({ prompt: { kind: "text", text: "" }, tokens_max: 16 });
  });

  test("a prompt of token ids stays token ids", async () => {
    const { prompt } = await asked(COMPLETIONS, { model: "tiny", prompt: [1, 0, 511] });
    expect(prompt).toEqual({ kind: "tokens", token_ids: [1, 0, 511] });
  });

  for (const [path, body] of [
    [CHAT, HI],
    [COMPLETIONS, { model: "tiny", prompt: "x" }],
  ] as const) {
    test(`${path} passes on every parameter, zero included`, async () => {
      const zeros = { temperature: 0, top_p: 0, top_k: 0, min_p: 0, typical_p: 0, seed: 0 };
      const none = { presence_penalty: 0, frequency_penalty: 0, xtc_probability: 0, xtc_threshold: 0 };
      const sampling = { ...zeros, ...none };
      const request = await asked(path, { ...body, ...sampling, max_tokens: 7, stop: "\n", stream: false });
      expect(request).toMatchObject({ sampling, tokens_max: 7, stop: ["\n"] });
      const penalties = { presence_penalty: -2, frequency_penalty: 2, repetition_penalty: 1.1 };
      const filters = { typical_p: 0.9, xtc_probability: 0.5, xtc_threshold: 0.2 };
      const others = { temperature: 2, top_p: 1, top_k: 40, min_p: 0.05, seed: -9, ...penalties, ...filters };
      const other = await asked(path, { ...body, ...others, max_completion_tokens: 8, stop: ["a", "b", "c", "d"] });
      expect(other).toMatchObject({ sampling: others, tokens_max: 8, stop: ["a", "b", "c", "d"] });
    });

    test(`${path} passes on a window of the penalties and biases by token`, async () => {
      const logit_bias = { 50: -100, 7: 3.5 };
      const windows = [0, 64, -1].map(async (repeat_last_n) => {
        const { sampling } = await asked(path, { ...body, repeat_last_n, logit_bias });
        expect(sampling.logit_bias?.toSorted((one, other) => one.token_id - other.token_id)).toEqual([
          { token_id: 7, bias: 3.5 },
          { token_id: 50, bias: -100 },
        ]);
        return sampling.penalty_window;
      });
      expect(await Promise.all(windows)).toEqual([0, 64, ALL_TOKENS]);
    });

    test(`${path} passes on what ends an answer, and how many there are`, async () => {
      const ends = { min_tokens: 3, stop_token_ids: [1, 2], ignore_eos: true };
      const request = await asked(path, { ...body, ...ends, n: 2 });
      expect(request).toMatchObject({ tokens_min: 3, stop_token_ids: [1, 2], ignore_eos: true, choices: 2 });
    });

    test(`${path} takes null for absent`, async () => {
      const names = ["temperature", "top_p", "top_k", "min_p", "seed", "stop", "stream", "stream_options"];
      const limits = ["max_tokens", "max_completion_tokens", "min_tokens", "n", "stop_token_ids", "ignore_eos"];
      const penalties = ["presence_penalty", "frequency_penalty", "repetition_penalty", "repeat_last_n", "logit_bias"];
      const filters = ["typical_p", "xtc_probability", "xtc_threshold", "logprobs"];
      const nulls = Object.fromEntries([...names, ...limits, ...penalties, ...filters].map((name) => [name, null]));
      expect(await asked(path, { ...body, ...nulls })).toEqual(await asked(path, body));
    });

    test(`${path} takes both token limits when they agree`, async () => {
      expect(await asked(path, { ...body, max_tokens: 5, max_completion_tokens: 5 })).toMatchObject({ tokens_max: 5 });
    });
  }

  test("developer is system, and text parts are one text", async () => {
    const parts = [
      { type: "text", text: "one " },
      { type: "text", text: "two" },
    ];
    const messages = [
      { role: "developer", content: "Be brief" },
      { role: "system", content: "Be kind" },
      { role: "user", content: parts },
      { role: "assistant", content: "" },
    ];
    const { prompt } = await asked(CHAT, { model: "tiny", messages });
    expect(prompt).toEqual({
      kind: "messages",
      messages: [
        { role: "system", content: "Be brief" },
        { role: "system", content: "Be kind" },
        { role: "user", content: "one two" },
        { role: "assistant", content: "", reasoning: null, tool_calls: [] },
      ],
    });
  });
});
