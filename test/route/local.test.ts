/** The local backend over the real engine; the text side is a small one with the same contract. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Failure } from "../../src/core/failure.ts";
import { type GenerationEvent, type GenerationRequest, NO_WISHES, PLAIN_ANSWER } from "../../src/core/generation.ts";
import { LocalBackend } from "../../src/route/local.ts";
import { Catalog } from "../../src/schedule/catalog.ts";
import { RequestQueue } from "../../src/schedule/queue.ts";
import { Scheduler } from "../../src/schedule/scheduler.ts";
import { formatNamed } from "../../src/text/answer/formats.ts";
import { type Reader, startTextWorker, type TextClient } from "../../src/text/client.ts";
import type { Chat } from "../../src/text/messages.ts";
import { EngineClient } from "../../src/worker/client.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { engineParts } from "../open-mlx.ts";
import { ROOT } from "../root.ts";
import { poolOf } from "../schedule/pool-of.ts";

const NEVER = new AbortController().signal;

/** Every token is one letter; the text decides nothing. */
class Letters implements TextClient {
  encoded: number[] = [1, 2, 3];
  has_chat_template = true;
  stop_token_ids: number[] = [];
  /** What it was asked to encode. */
  asked: unknown[] = [];
  readers: (Reader | undefined)[] = [];

  async load() {
    return {
      vocabulary: {
        bytes: Uint8Array.from({ length: 256 }, (_, id) => 97 + (id % 26)),
        offsets: Uint32Array.from({ length: 257 }, (_, id) => id),
        names: new Map(),
        marks: new Map(),
        strips_leading_space: false,
      },
      token_bytes_max: 3,
      purpose: { kind: "chat" } as const,
      has_chat_template: this.has_chat_template,
      stop_token_ids: this.stop_token_ids,
      sampling: { temperature: 0, top_k: null, top_p: null, min_p: null },
    };
  }

  async encodeChat(_: string, { messages }: Chat, reader?: Reader) {
    this.asked.push(messages);
    this.readers.push(reader);
    return {
      token_ids: this.encoded,
      form: { format: formatNamed("hermes"), thoughts: [], open_thought: null, thought: null },
    };
  }

  async encodeText(_: string, text: string, reader?: Reader) {
    this.asked.push(text);
    this.readers.push(reader);
    return this.encoded;
  }

  async renderChat() {
    return "";
  }
  async encodeFill() {
    return this.encoded;
  }

  forget() {}

  async encodeInputs() {
    return [];
  }

  close() {}
}

const LIMITS = { rows_max: 16, queue_max: 48 };
const FOLDER = scratchFolder();

let backend: LocalBackend;
let engine: EngineClient;
let text: Letters;
const grammars = startTextWorker(join(ROOT, "src/text/main.ts"));

beforeAll(() => {
  prepareFixtures();
  engine = new EngineClient(() => new Worker(join(ROOT, "src/worker/main.ts")), engineParts(FOLDER));
}, 120_000);

beforeEach(() => {
  const model = { name: "untied", path: fixture("untied").path, changed_s: 0, bytes: 0, sampling: NO_WISHES };
  text = new Letters();
  backend = new LocalBackend(
    new Catalog([model]),
    { text, grammars },
    new Scheduler(engine, new RequestQueue(LIMITS, () => performance.now()), poolOf(engine)),
    { seed: () => 7, callId: () => "call00001" },
    { volatile_lines: "billing" },
  );
});

afterAll(() => {
  grammars.close();
  return engine.close();
});

function request(changes: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    request_id: "req_0",
    model: "untied",
    prompt: { kind: "text", text: "any" },
    ...PLAIN_ANSWER,
    tokens_max: 10,
    ...changes,
  };
}

async function events(asked: GenerationRequest, signal = NEVER): Promise<GenerationEvent[]> {
  return await Array.fromAsync(backend.generate(asked, signal));
}

async function failure(asked: GenerationRequest): Promise<Failure> {
  return (await events(asked).catch((error: unknown) => error)) as Failure;
}

test("an answer is one start, texts, one finish, and one end that counts its tokens", async () => {
  const all = await events(request());
  expect(all[0]).toEqual({ kind: "start", prompt_tokens: 3 });
  expect(all.slice(-2)).toEqual([
    { kind: "finish", choice: 0, reason: "length", stop_text: null },
    {
      kind: "end",
      usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 10, reasoning_tokens: null },
      timing: { load_ms: expect.any(Number), prompt_ms: expect.any(Number), answer_ms: expect.any(Number) },
    },
  ]);
  expect(all.slice(1, -2).every((event) => event.kind === "text")).toBe(true);
});

test("the answer ends where the context does", async () => {
  const all = await events(
    request({ prompt: { kind: "tokens", token_ids: new Array(508).fill(5) }, tokens_max: null }),
  );
  expect(all.slice(-2)).toMatchObject([
    { kind: "finish", reason: "length" },
    { kind: "end", usage: { prompt_tokens: 508, completion_tokens: 4 } },
  ]);
});

test("a token beyond the model's table is refused, whoever made it", async () => {
  text.encoded = [1, 256];
  const refused = await failure(request());
  expect(refused.kind).toBe("invalid_request");
  expect(refused.message).toBe('Cannot use the prompt: "untied" has 256 tokens, found token 256');
});

test("an empty prompt is refused", async () => {
  text.encoded = [];
  const refused = await failure(request());
  expect(refused.message).toContain("it is empty");
});

describe("a prompt that cannot fit", () => {
  const TAKES = '"untied" takes 512 with the answer';

  test("is counted to twice the context, and refused with the numbers", async () => {
    for (const [count, counted] of [
      [512, TAKES],
      [1023, TAKES],
      [1024, `it was counted so far, and ${TAKES}`],
    ] as const) {
      text.encoded = new Array(count).fill(1);
      const refused = await failure(request());
      expect(refused.kind).toBe("context_overflow");
      expect(refused.message).toBe(
        `Cannot fit the prompt: prompt is too long: ${count} tokens > 511 maximum: ${counted}`,
      );
    }
    expect(text.readers.map((reader) => reader?.tokens_max)).toEqual([1024, 1024, 1024]);
  });

  test("of token ids is counted whole", async () => {
    const refused = await failure(request({ prompt: { kind: "tokens", token_ids: new Array(5000).fill(1) } }));
    expect(refused.message).toBe(`Cannot fit the prompt: prompt is too long: 5000 tokens > 511 maximum: ${TAKES}`);
  });

  test("even of the longest tokens is not read at all", async () => {
    const content = "é".repeat(768); // 1536 bytes: 512 tokens of 3
    const user = { role: "user", content } as const;
    const whole = [request({ prompt: { kind: "text", text: content } })];
    whole.push(request({ prompt: { kind: "messages", messages: [user] } }));
    for (const asked of whole) expect((await events(asked)).at(-1)?.kind).toBe("end");
    expect(text.asked).toEqual([content, [user]]);

    const longer = [request({ prompt: { kind: "text", text: `${content}x` } })];
    longer.push(
      request({
        prompt: {
          kind: "messages",
          messages: [user, { role: "assistant", content: "x", reasoning: null, tool_calls: [] }],
        },
      }),
    );
    for (const asked of longer) {
      const refused = await failure(asked);
      expect(refused.kind).toBe("context_overflow");
      const state = "prompt is too long: 513 tokens > 511 maximum: it has 1537 bytes of text, a token at most 3";
      expect(refused.message).toBe(`Cannot fit the prompt: ${state}, and ${TAKES}`);
    }
    expect(text.asked).toHaveLength(2);
  });
});

test("a model without a chat template is named as its caller named it", async () => {
  text.has_chat_template = false;
  const refused = await failure(request({ prompt: { kind: "messages", messages: [{ role: "user", content: "a" }] } }));
  expect(refused).toMatchObject({ kind: "unsupported", parameter: "messages" });
  expect(refused.message).toBe('Cannot chat with "untied": it has no chat template');
});

test("the text side learns when its reader leaves", async () => {
  const controller = new AbortController();
  await events(request(), controller.signal);
  expect(text.readers.map((reader) => reader?.signal.aborted)).toEqual([false]);
  controller.abort();
  expect(text.readers.map((reader) => reader?.signal.aborted)).toEqual([true]);
});

test("beyond its limit requests are refused before they start, and taken again after", async () => {
  const outcomes = await Promise.allSettled(Array.from({ length: 70 }, () => events(request())));
  const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  expect(refused.map((error: Failure) => error.kind)).toEqual(new Array(6).fill("overloaded"));
  expect((await events(request())).at(-1)?.kind).toBe("end");
});

test("an aborted request throws the signal's reason and leaves the engine to the next", async () => {
  const controller = new AbortController();
  const running = events(request({ tokens_max: 400 }), controller.signal);
  controller.abort(new Error("gone"));
  expect(await running.then(String, (error: Error) => error.message)).toBe("gone");
  expect((await events(request())).at(-1)?.kind).toBe("end");
});

describe("several choices", () => {
  const wishes = { sampling: { ...NO_WISHES, temperature: 1, seed: 5 }, tokens_max: 12 };

  test("of a seed are the same again, differ, and the first is the one that comes alone", async () => {
    const several = await texts(request({ ...wishes, choices: 3 }));
    expect(several).toEqual(await texts(request({ ...wishes, choices: 3 })));
    expect(new Set(several).size).toBe(3);
    expect(several.slice(0, 1)).toEqual(await texts(request(wishes)));
    expect(several.slice(0, 2)).toEqual(await texts(request({ ...wishes, choices: 2 })));
  });

  test("have one start and one end, which counts the prompt once and the tokens of all", async () => {
    const all = await events(request({ ...wishes, choices: 3 }));
    expect(all.filter(({ kind }) => kind === "start")).toEqual([{ kind: "start", prompt_tokens: 3 }]);
    expect(all.filter(({ kind }) => kind === "finish")).toHaveLength(3);
    expect(all.at(-1)).toMatchObject({ usage: { prompt_tokens: 3, completion_tokens: 36 } });
  });

  test("leave no row behind when their reader leaves", async () => {
    for (let round = 0; round < 6; round++) {
      for await (const event of backend.generate(request({ ...wishes, tokens_max: 400, choices: 12 }), NEVER)) {
        if (event.kind === "text") break;
      }
    }
    // 72 rows would be more than may be answered at once.
    expect((await events(request())).at(-1)?.kind).toBe("end");
  });
});

describe("an answer ends", () => {
  test("before a stop text, wherever its tokens begin and end", async () => {
    const [whole = ""] = await texts(request({ tokens_max: 30 }));
    for (const [from, to] of [
      [4, 6],
      [5, 10],
      [0, 3],
    ] as const) {
      const stop = whole.slice(from, to);
      const all = await events(request({ tokens_max: 30, stop: [stop] }));
      expect(textsOf(all).join("")).toBe(whole.slice(0, whole.indexOf(stop)));
      expect(all.at(-2)).toEqual({ kind: "finish", choice: 0, reason: "stop", stop_text: stop });
    }
  });

  test("at a stop token, which is not part of it, and not before its least tokens", async () => {
    const [whole = ""] = await texts(request());
    const letter = whole[3] ?? "";
    const stop = request({ tokens_max: 30, stop_token_ids: idsOf(letter) });
    expect(await texts(stop)).toEqual([whole.slice(0, whole.indexOf(letter))]);
    const [later = ""] = await texts({ ...stop, tokens_min: 9 });
    expect(later.length).toBeGreaterThanOrEqual(9);
    expect(later).not.toContain(letter);
  });

  test("at the model's own end, unless that is ignored", async () => {
    const [whole = ""] = await texts(request());
    const letter = whole[2] ?? "";
    text.stop_token_ids = idsOf(letter);
    expect(await texts(request())).toEqual([whole.slice(0, whole.indexOf(letter))]);
    expect(await texts(request({ ignore_eos: true }))).toEqual([whole]);
  });
});

test("each token of the answer is told with its bytes and its place", async () => {
  const told = (await events(request({ logprobs: 2 }))).flatMap((event) => (event.kind === "text" ? event.tokens : []));
  expect(told.map(({ text_offset }) => text_offset)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(told.map((token) => token.text)).toEqual([...((await texts(request()))[0] ?? "")]);
  for (const { text, bytes, logprob, top } of told) {
    expect(bytes).toEqual([text.charCodeAt(0)]);
    expect(top).toHaveLength(2);
    expect(top[0]?.logprob ?? null).toBe(logprob); // greedy
    expect(logprob).toBeLessThan(0);
  }
});

test("an echo is the prompt's text, before each choice", async () => {
  const said = await texts(request({ choices: 2 }));
  expect(await texts(request({ choices: 2, echo: true }))).toEqual(said.map((answer) => `any${answer}`));
  const ids = request({ prompt: { kind: "tokens", token_ids: [0, 1, 2] } });
  expect(await texts({ ...ids, echo: true })).toEqual((await texts(ids)).map((answer) => `abc${answer}`));
});

test("the prefix that others have computed is told as cached", async () => {
  const token_ids = Array.from({ length: 100 }, (_, place) => 11 + (place % 60));
  const asked = request({ prompt: { kind: "tokens", token_ids } });
  expect((await events(asked)).at(-1)).toMatchObject({ usage: { prompt_tokens: 100, cached_tokens: 0 } });
  expect((await events(asked)).at(-1)).toMatchObject({ usage: { prompt_tokens: 100, cached_tokens: 96 } });
});

test("ids that the model does not have are refused by the name of their parameter", async () => {
  const bias = { sampling: { ...NO_WISHES, logit_bias: [{ token_id: 256, bias: 1 }] } };
  expect(await failure(request(bias))).toMatchObject({ kind: "invalid_request", parameter: "logit_bias" });
  const refused = await failure(request({ stop_token_ids: [1, 300] }));
  expect(refused.message).toBe('Cannot use "stop_token_ids": "untied" has 256 tokens, found token 300');
});

/** Texts by choice. */
async function texts(asked: GenerationRequest): Promise<string[]> {
  return textsOf(await events(asked));
}

function textsOf(all: readonly GenerationEvent[]): string[] {
  const by_choice: string[] = [];
  for (const event of all) {
    if (event.kind === "text") by_choice[event.choice] = (by_choice[event.choice] ?? "") + event.text;
  }
  return by_choice;
}

/** The tokens that the letters write so. */
function idsOf(letter: string): number[] {
  const first = letter.charCodeAt(0) - 97;
  return Array.from({ length: 256 }, (_, id) => id).filter((id) => id % 26 === first);
}
