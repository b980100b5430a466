/** The local backend over the real engine; the text side is a small one with the same contract. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { Failure } from "../../src/core/failure.ts";
import type { GenerationEvent, GenerationRequest } from "../../src/core/generation.ts";
import { LocalBackend } from "../../src/route/local.ts";
import { Catalog } from "../../src/schedule/catalog.ts";
import { Scheduler } from "../../src/schedule/scheduler.ts";
import type { TextClient } from "../../src/text/client.ts";
import { EngineClient } from "../../src/worker/client.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { LIBRARY } from "../open-mlx.ts";
import { ROOT } from "../root.ts";

const NO_WISHES = { temperature: null, top_k: null, top_p: null, min_p: null, seed: null };
const NEVER = new AbortController().signal;

/** Every token is one letter; the text decides nothing. */
class Letters implements TextClient {
  encoded: number[] = [1, 2, 3];

  async load() {
    return {
      vocabulary: {
        bytes: Uint8Array.from({ length: 256 }, (_, id) => 97 + (id % 26)),
        offsets: Uint32Array.from({ length: 257 }, (_, id) => id),
        strips_leading_space: false,
      },
      has_chat_template: true,
      stop_token_ids: [],
      sampling: { temperature: 0, top_k: null, top_p: null, min_p: null },
    };
  }

  async encodeChat() {
    return this.encoded;
  }

  async encodeText() {
    return this.encoded;
  }

  close() {}
}

let backend: LocalBackend;
let engine: EngineClient;
const text = new Letters();

beforeAll(() => {
  prepareFixtures();
  engine = new EngineClient(() => new Worker(join(ROOT, "src/worker/main.ts")), LIBRARY);
  const model = { name: "untied", path: fixture("untied").path, changed_s: 0, sampling: NO_WISHES };
  backend = new LocalBackend(new Catalog([model]), text, new Scheduler(engine), () => 7);
}, 120_000);

afterAll(() => engine.close());

function request(changes: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    request_id: "req_0",
    model: "untied",
    prompt: { kind: "text", text: "any" },
    sampling: NO_WISHES,
    tokens_max: 10,
    stop: [],
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
  text.encoded = [1, 2, 3];
  expect(refused.kind).toBe("invalid_request");
  expect(refused.message).toBe('Cannot use the prompt: "untied" has 256 tokens, found token 256');
});

test("an empty prompt is refused", async () => {
  text.encoded = [];
  const refused = await failure(request());
  text.encoded = [1, 2, 3];
  expect(refused.message).toContain("it is empty");
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
