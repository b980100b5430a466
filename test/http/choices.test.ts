/** Several answers to one request, and what is told of their tokens, through the front door. */

import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/core/failure.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import { readEvents, type Script, ScriptedBackend, saying, serverOf, token } from "./scripted-backend.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const SAY = { model: "tiny", prompt: "Say" };

interface Told {
  choices: { index: number; text: string; message: { content: string }; logprobs: unknown; finish_reason: string }[];
  usage: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { cached_tokens: number } };
}

async function ask(path: string, body: object, script: Script = saying): Promise<Told> {
  const response = await serverOf(new ScriptedBackend(script)).post(path, body);
  return (await response.json()) as Told;
}

/** The choices of all chunks. */
async function stream(path: string, body: object, script: Script = saying): Promise<Told["choices"]> {
  const response = await serverOf(new ScriptedBackend(script)).post(path, { ...body, stream: true });
  const events = (await readEvents(response)).slice(0, -1) as Told[];
  return events.flatMap(({ choices }) => choices);
}

describe("n", () => {
  test("choices come in order, each with its own text and end", async () => {
    const { choices } = await ask(CHAT, { ...HI, n: 3 });
    expect(choices.map(({ index, message }) => [index, message.content])).toEqual([
      [0, "hi 0"],
      [1, "hi 1"],
      [2, "hi 2"],
    ]);
    const completion = await ask(COMPLETIONS, { ...SAY, n: 2 });
    expect(completion.choices.map(({ index, text }) => [index, text])).toEqual([
      [0, "Say 0"],
      [1, "Say 1"],
    ]);
  });

  test("a stream begins, carries and ends each choice", async () => {
    const chunks = await stream(CHAT, { ...HI, n: 2 });
    expect(chunks.map(({ index }) => index)).toEqual([0, 1, 1, 0, 1, 0]);
    expect(chunks.map(({ finish_reason }) => finish_reason)).toEqual([
      null,
      null,
      null,
      null,
      "stop",
      "length",
    ] as never);
  });
});

describe("the tokens of an answer", () => {
  const the = { token: " 0", logprob: -0.5, bytes: [32, 48] };
  const top = [{ token: "a", logprob: -0.25, bytes: [97] }, the];

  test("are told of a chat one by one", async () => {
    const { choices } = await ask(CHAT, { ...HI, logprobs: true, top_logprobs: 2 });
    const first = { token: "hi", logprob: -0.125, bytes: [104, 105], top_logprobs: [{ ...top[0] }] };
    expect(choices[0]?.logprobs).toEqual({ content: [first, { ...the, top_logprobs: top }], refusal: null });
  });

  test("are told in the chunk of their text", async () => {
    const chunks = await stream(CHAT, { ...HI, logprobs: true });
    expect(chunks.map(({ logprobs }) => (logprobs as { content: object[] } | null)?.content.length)).toEqual([
      undefined,
      2,
      undefined,
    ]);
  });

  test("are told of a completion list by list, each among the likeliest in its place", async () => {
    const { choices } = await ask(COMPLETIONS, { ...SAY, logprobs: 1 });
    expect(choices[0]?.logprobs).toEqual({
      tokens: ["Say", " 0"],
      token_logprobs: [-0.125, -0.5],
      top_logprobs: [
        { Say: -0.125, a: -0.25 },
        { a: -0.25, " 0": -0.5 },
      ],
      text_offset: [0, 3],
    });
  });

  test("are not told when nobody asks", async () => {
    const body = { ...HI, logprobs: false };
    expect((await ask(CHAT, body)).choices[0]?.logprobs).toBeNull();
    expect((await ask(COMPLETIONS, SAY)).choices[0]?.logprobs).toBeNull();
  });
});

describe("several prompts", () => {
  const prompt = ["one", "two"];

  test("have their choices one prompt after another, and one usage", async () => {
    const { choices, usage } = await ask(COMPLETIONS, { model: "tiny", prompt, n: 2 });
    expect(choices.map(({ index, text }) => `${index}: ${text}`)).toEqual([
      "0: one 0",
      "1: one 1",
      "2: two 0",
      "3: two 1",
    ]);
    expect(usage).toEqual({
      prompt_tokens: 10,
      completion_tokens: 8,
      total_tokens: 18,
      prompt_tokens_details: { cached_tokens: 6 },
    } as Told["usage"]);
  });

  test("may be lists of token ids", async () => {
    const backend = new ScriptedBackend();
    await serverOf(backend).post(COMPLETIONS, { model: "tiny", prompt: [[1, 2], "x", [3]] });
    expect(backend.requests.map((request) => request.prompt)).toEqual([
      { kind: "tokens", token_ids: [1, 2] },
      { kind: "text", text: "x" },
      { kind: "tokens", token_ids: [3] },
    ]);
  });

  test("are streamed side by side", async () => {
    const chunks = await stream(COMPLETIONS, { model: "tiny", prompt });
    const texts = prompt.map((_, place) => chunks.flatMap(({ index, text }) => (index === place ? text : [])).join(""));
    expect(texts).toEqual(["one 0", "two 0"]);
  });

  test("are refused together when one of them is, and the others end", async () => {
    const backend = new ScriptedBackend(async function* (request) {
      if (isText(request, "two")) {
        await Bun.sleep(5);
        throw new Failure("context_overflow", "Cannot fit the prompt: it is long");
      }
      yield* saying(request);
      await Bun.sleep(1);
    });
    const response = await serverOf(backend).post(COMPLETIONS, { model: "tiny", prompt, stream: true });
    expect(response.status).toBe(400);
    await Bun.sleep(5);
    expect(backend.closed).toBe(2);
  });
});

describe("best_of", () => {
  /** The second of three answers is the likeliest, then the third. */
  const three: Script = async function* (request) {
    yield { kind: "start", prompt_tokens: 5 };
    for (const [choice, logprob] of [-3, -1, -2].entries()) {
      const tokens = request.logprobs === null ? [] : [token("x", 0, logprob)];
      yield { kind: "text", choice, text: `answer ${choice}`, tokens };
      yield { kind: "finish", choice, reason: "stop", stop_text: null };
    }
    yield { kind: "end", usage: { prompt_tokens: 5, cached_tokens: 0, completion_tokens: 3, reasoning_tokens: null } };
  };

  test("gives the likeliest of more answers, the best first, and counts all", async () => {
    const { choices, usage } = await ask(COMPLETIONS, { ...SAY, best_of: 3, n: 2 }, three);
    expect(choices.map(({ index, text, logprobs }) => [index, text, logprobs])).toEqual([
      [0, "answer 1", null],
      [1, "answer 2", null],
    ]);
    expect(usage.completion_tokens).toBe(3);
  });

  test("gives all as they are when none is left out", async () => {
    const { choices } = await ask(COMPLETIONS, { ...SAY, best_of: 3, n: 3, logprobs: 0 }, three);
    expect(choices.map(({ text }) => text)).toEqual(["answer 0", "answer 1", "answer 2"]);
  });
});

test("echo is the backend's to do, with every answer", async () => {
  const backend = new ScriptedBackend();
  await serverOf(backend).post(COMPLETIONS, { ...SAY, echo: true });
  expect(backend.last.echo).toBe(true);
});

function isText({ prompt }: GenerationRequest, text: string): boolean {
  return prompt.kind === "text" && prompt.text === text;
}
