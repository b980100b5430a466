/** The official client of OpenAI's API, unmodified, against a real socket. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI, {
  APIError,
  APIUserAbortError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from "openai";
import { Failure, type FailureKind } from "../../src/core/failure.ts";
import { type Listening, listen } from "../../src/http/listen.ts";
import { endless, failing, hello, type Script, ScriptedBackend, saying, serverOf } from "./scripted-backend.ts";

const MODEL = "tiny";
const MESSAGES = [{ role: "user", content: "hi" }] as const;

let script: Script = hello;
const backend = new ScriptedBackend((request, signal) => script(request, signal));
let server: Listening;
let client: OpenAI;

beforeAll(() => {
  server = listen(serverOf(backend).app, { host: "127.0.0.1", port: 0 });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});

beforeEach(() => {
  script = hello;
});

afterAll(async () => await server.stop());

async function errorOf(promise: PromiseLike<unknown>): Promise<APIError> {
  const error = await Promise.resolve(promise).catch((error: unknown) => error);
  if (error instanceof APIError) return error;
  throw new Error(`Not an error of the client: ${Bun.inspect(error)}`);
}

test("lists the models", async () => {
  const models = await Array.fromAsync(await client.models.list());
  expect(models.map((model) => [model.id, model.owned_by])).toEqual([
    ["tiny", "local"],
    ["org/name", "org"],
  ]);
});

test("retrieves a model, also one with a slash in its name", async () => {
  expect((await client.models.retrieve("tiny")).created).toBe(1_700_000_000);
  expect((await client.models.retrieve("org/name")).id).toBe("org/name");
});

test("chats", async () => {
  const chat = await client.chat.completions.create({ model: MODEL, messages: [...MESSAGES], max_tokens: 5 });
  expect(chat.choices[0]?.message).toEqual({ role: "assistant", content: "Hello, wörld", refusal: null });
  expect(chat.usage?.total_tokens).toBe(7);
  expect(chat._request_id).toMatch(/^req_[0-9a-f]{12}$/);
});

test("streams a chat, with its usage", async () => {
  const options = { include_usage: true };
  const stream = await client.chat.completions.create({
    model: MODEL,
    messages: [...MESSAGES],
    stream: true,
    stream_options: options,
  });
  const chunks = await Array.fromAsync(stream);
  expect(chunks.map((chunk) => chunk.choices[0]?.delta.content)).toEqual([
    "",
    "Hello",
    ", wörld",
    undefined,
    undefined,
  ]);
  expect(chunks.at(-1)?.usage?.completion_tokens).toBe(2);
});

test("its stream helper puts the pieces of a chat together", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages: [...MESSAGES] });
  const chat = await stream.finalChatCompletion();
  expect(chat.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "Hello, wörld" } });
});

test("completes and streams a completion", async () => {
  const completion = await client.completions.create({ model: MODEL, prompt: "Say", max_tokens: 5 });
  expect(completion.choices[0]?.text).toBe("Hello, wörld");
  const stream = await client.completions.create({ model: MODEL, prompt: [1, 2, 3], stream: true });
  const chunks = await Array.fromAsync(stream);
  expect(chunks.map((chunk) => chunk.choices[0]?.text).join("")).toBe("Hello, wörld");
  expect(backend.last.prompt).toEqual({ kind: "tokens", token_ids: [1, 2, 3] });
});

test("reads several choices and the log probabilities of their tokens", async () => {
  script = saying;
  const wishes = { n: 2, logprobs: true, top_logprobs: 2, seed: 7, logit_bias: { "5": -1 } };
  const chat = await client.chat.completions.create({ model: MODEL, messages: [...MESSAGES], ...wishes });
  expect(chat.choices.map((choice) => choice.message.content)).toEqual(["hi 0", "hi 1"]);
  const [, second] = chat.choices[1]?.logprobs?.content ?? [];
  expect(second).toMatchObject({ token: " 1", logprob: -0.5, bytes: [32, 49] });
  expect(second?.top_logprobs.map(({ token }) => token)).toEqual(["a", " 1"]);
  expect(chat.usage?.prompt_tokens_details?.cached_tokens).toBe(3);
  const streamed = client.chat.completions.stream({ model: MODEL, messages: [...MESSAGES], ...wishes });
  const whole = await streamed.finalChatCompletion();
  expect(whole.choices.map(({ message, logprobs }) => [message.content, logprobs?.content?.length])).toEqual([
    ["hi 0", 2],
    ["hi 1", 2],
  ]);
  const completion = await client.completions.create({ model: MODEL, prompt: ["a", "b"], n: 2, logprobs: 1 });
  expect(completion.choices.map((choice) => choice.text)).toEqual(["a 0", "a 1", "b 0", "b 1"]);
  expect(completion.choices[3]?.logprobs?.text_offset).toEqual([0, 1]);
});

describe("aborting", () => {
  async function untilClosed(closed: number): Promise<void> {
    for (let round = 0; backend.closed < closed; round++) {
      if (round > 400) throw new Error("The backend was not closed within 2 s");
      await Bun.sleep(5);
    }
  }

  test("a stream aborts the backend", async () => {
    script = endless;
    const { aborted, closed } = backend;
    const stream = await client.chat.completions.create({ model: MODEL, messages: [...MESSAGES], stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 3) break;
    await untilClosed(closed + 1);
    expect(backend.aborted).toBe(aborted + 1);
  });

  test("a request for a whole answer aborts the backend", async () => {
    script = endless;
    const { aborted, closed } = backend;
    const leaving = new AbortController();
    const chat = client.chat.completions.create({ model: MODEL, messages: [...MESSAGES] }, { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 30);
    expect(await errorOf(chat)).toBeInstanceOf(APIUserAbortError);
    await untilClosed(closed + 1);
    expect(backend.aborted).toBe(aborted + 1);
  });
});

describe("its error classes", () => {
  const chat = (extra: object = {}) =>
    client.chat.completions.create({ model: MODEL, messages: [...MESSAGES], ...extra });

  test("a wrong parameter is a BadRequestError that names it", async () => {
    const error = await errorOf(chat({ temperature: 9 }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error", code: null });
    expect(error.message).toBe('400 Cannot use "temperature": expected a number from 0 to 2, found 9');
    expect(error.requestID).toMatch(/^req_[0-9a-f]{12}$/);
  });

  test("what is not supported yet is a BadRequestError with a code", async () => {
    const error = await errorOf(chat({ modalities: ["audio"] }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param: "modalities[0]", code: "unsupported" });
  });

  test("an unknown model is a NotFoundError", async () => {
    for (const promise of [chat({ model: "gpt-9" }), client.models.retrieve("gpt-9")]) {
      const error = await errorOf(promise);
      expect(error).toBeInstanceOf(NotFoundError);
      expect(error).toMatchObject({ status: 404, code: "model_not_found", param: "model" });
    }
  });

  const kinds: [FailureKind, new (...words: never[]) => APIError][] = [
    ["forbidden", PermissionDeniedError],
    ["overloaded", RateLimitError],
    ["unavailable", InternalServerError],
    ["engine", InternalServerError],
    ["context_overflow", BadRequestError],
  ];
  for (const [kind, wanted] of kinds) {
    test(`a failure of kind ${kind} is a ${wanted.name}`, async () => {
      script = failing(new Failure(kind, "Cannot do it: no"), 0);
      expect(await errorOf(chat())).toBeInstanceOf(wanted);
      expect(await errorOf(chat({ stream: true }))).toBeInstanceOf(wanted);
    });
  }

  test("a failure in the middle of a stream is thrown where it is read, after what was sent", async () => {
    script = failing(new Failure("engine", "Cannot go on: it died"), 2);
    const stream = await client.chat.completions.create({ model: MODEL, messages: [...MESSAGES], stream: true });
    const pieces: unknown[] = [];
    const reading = (async () => {
      for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta.content);
    })();
    const error = await errorOf(reading);
    expect(pieces).toEqual(["", "Hello"]);
    expect(error).toMatchObject({ code: "engine_error", type: "server_error" });
    expect(error.message).toContain("Cannot go on: it died");
  });

  test("it tries again by itself after a failure that passes", async () => {
    let failures = 0;
    script = async function* () {
      if (failures++ === 0) throw new Failure("overloaded", "Cannot start: the queue is full");
      yield* hello();
    };
    const patient = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 1 });
    const answer = await patient.chat.completions.create({ model: MODEL, messages: [...MESSAGES] });
    expect(answer.choices[0]?.message.content).toBe("Hello, wörld");
    expect(failures).toBe(2);
  });

  test("it does not try again after one that stays, such as a damaged model", async () => {
    let failures = 0;
    script = async function* () {
      failures++;
      yield* [];
      throw new Failure("unavailable", 'Cannot read "model.gguf": it breaks off');
    };
    const patient = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 3 });
    const error = await errorOf(patient.chat.completions.create({ model: MODEL, messages: [...MESSAGES] }));
    expect(error.status).toBe(503);
    expect(failures).toBe(1);
  });
});
