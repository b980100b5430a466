/** The local backend over the real engine; the text side is a small one with the same contract. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Failure } from "../../src/core/failure.ts";
import type { GenerationEvent, GenerationRequest, Message } from "../../src/core/generation.ts";
import { PRIORITY } from "../../src/core/priority.ts";
import { LocalBackend } from "../../src/route/local.ts";
import { Catalog } from "../../src/schedule/catalog.ts";
import { RequestQueue } from "../../src/schedule/queue.ts";
import { Scheduler } from "../../src/schedule/scheduler.ts";
import type { Reader, TextClient } from "../../src/text/client.ts";
import { EngineClient } from "../../src/worker/client.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { engineParts } from "../open-mlx.ts";
import { ROOT } from "../root.ts";
import { poolOf } from "../schedule/pool-of.ts";

const NO_WISHES = { temperature: null, top_k: null, top_p: null, min_p: null, seed: null };
const NEVER = new AbortController().signal;

/** Every token is one letter; the text decides nothing. */
class Letters implements TextClient {
  encoded: number[] = [1, 2, 3];
  has_chat_template = true;
  /** What it was asked to encode. */
  asked: unknown[] = [];
  readers: (Reader | undefined)[] = [];

  async load() {
    return {
      vocabulary: {
        bytes: Uint8Array.from({ length: 256 }, (_, id) => 97 + (id % 26)),
        offsets: Uint32Array.from({ length: 257 }, (_, id) => id),
        strips_leading_space: false,
      },
      token_bytes_max: 3,
      purpose: { kind: "chat" } as const,
      has_chat_template: this.has_chat_template,
      stop_token_ids: [],
      sampling: { temperature: 0, top_k: null, top_p: null, min_p: null },
    };
  }

  async encodeChat(_: string, messages: readonly Message[], reader?: Reader) {
    this.asked.push(messages);
    this.readers.push(reader);
    return this.encoded;
  }

  async encodeText(_: string, text: string, reader?: Reader) {
    this.asked.push(text);
    this.readers.push(reader);
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

beforeAll(() => {
  prepareFixtures();
  engine = new EngineClient(() => new Worker(join(ROOT, "src/worker/main.ts")), engineParts(FOLDER));
}, 120_000);

beforeEach(() => {
  const model = { name: "untied", path: fixture("untied").path, changed_s: 0, sampling: NO_WISHES };
  text = new Letters();
  backend = new LocalBackend(
    new Catalog([model]),
    text,
    new Scheduler(engine, new RequestQueue(LIMITS, () => performance.now()), poolOf(engine)),
    () => 7,
  );
});

afterAll(() => engine.close());

function request(changes: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    request_id: "req_0",
    model: "untied",
    prompt: { kind: "text", text: "any" },
    sampling: NO_WISHES,
    tokens_max: 10,
    stop: [],
    priority: PRIORITY.normal,
    ...changes,
  };
}

async function events(asked: GenerationRequest, signal = NEVER): Promise<GenerationEvent[]> {
  return await Array.fromAsync(backend.generate(asked, signal));
}

async function failure(asked: GenerationRequest): Promise<Failure> {
  return (await events(asked).catch((error: unknown) => error)) as Failure;
}

test("an answer is one start, texts, and one end that counts its tokens", async () => {
  const all = await events(request());
  expect(all[0]).toEqual({ kind: "start", prompt_tokens: 3 });
  expect(all.at(-1)).toEqual({ kind: "end", reason: "length", usage: { prompt_tokens: 3, completion_tokens: 10 } });
  expect(all.slice(1, -1).every((event) => event.kind === "text")).toBe(true);
});

test("the answer ends where the context does", async () => {
  const all = await events(
    request({ prompt: { kind: "tokens", token_ids: new Array(508).fill(5) }, tokens_max: null }),
  );
  expect(all.at(-1)).toEqual({ kind: "end", reason: "length", usage: { prompt_tokens: 508, completion_tokens: 4 } });
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
      [512, "512"],
      [1023, "1023"],
      [1024, "at least 1024"],
    ] as const) {
      text.encoded = new Array(count).fill(1);
      const refused = await failure(request());
      expect(refused.kind).toBe("context_overflow");
      expect(refused.message).toBe(`Cannot fit the prompt: the prompt has ${counted} tokens, ${TAKES}`);
    }
    expect(text.readers.map((reader) => reader?.tokens_max)).toEqual([1024, 1024, 1024]);
  });

  test("of token ids is counted whole", async () => {
    const refused = await failure(request({ prompt: { kind: "tokens", token_ids: new Array(5000).fill(1) } }));
    expect(refused.message).toBe(`Cannot fit the prompt: the prompt has 5000 tokens, ${TAKES}`);
  });

  test("even of the longest tokens is not read at all", async () => {
    const content = "é".repeat(768); // 1536 bytes: 512 tokens of 3
    const user = { role: "user", content } as const;
    const whole = [request({ prompt: { kind: "text", text: content } })];
    whole.push(request({ prompt: { kind: "messages", messages: [user] } }));
    for (const asked of whole) expect((await events(asked)).at(-1)?.kind).toBe("end");
    expect(text.asked).toEqual([content, [user]]);

    const longer = [request({ prompt: { kind: "text", text: `${content}x` } })];
    longer.push(request({ prompt: { kind: "messages", messages: [user, { role: "assistant", content: "x" }] } }));
    for (const asked of longer) {
      const refused = await failure(asked);
      expect(refused.kind).toBe("context_overflow");
      const state = "the prompt has 1537 bytes of text, a token at most 3";
      expect(refused.message).toBe(`Cannot fit the prompt: ${state}, ${TAKES}`);
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
