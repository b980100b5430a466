/** A backend whose events a test writes, and a server around it. */

import type { Static } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { AuditEntry, AuditLog } from "../../src/core/audit.ts";
import type { Backend, ModelRecord } from "../../src/core/backend.ts";
import type { ModelCard } from "../../src/core/card.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../../src/core/encoding.ts";
import { Failure } from "../../src/core/failure.ts";
import type { DrawnReport, GenerationEvent, GenerationRequest } from "../../src/core/generation.ts";
import { untagged } from "../../src/core/model-names.ts";
import { NO_DEFAULTS, type Outlook, type RoutingDesk } from "../../src/core/routing.ts";
import type { ServerParts } from "../../src/http/parts.ts";
import { createServer } from "../../src/http/server.ts";
import { LocalWatch } from "../../src/route/local-watch.ts";
import { AddressGuard } from "../../src/route/remote/address.ts";
import { TUNING } from "../../src/route/remote/upstream.ts";
import { Router } from "../../src/route/router.ts";
import { problemSchema } from "../../src/wire/problem.ts";
import { ScriptedHub } from "./scripted-hub.ts";
import { NO_TOKENS, ScriptedKeys, ScriptedOwner, ScriptedProfiles, ScriptedShelf } from "./scripted-owner.ts";

export type Script = (request: GenerationRequest, signal: AbortSignal) => AsyncIterable<GenerationEvent>;

export const CARD: ModelCard = {
  family: "llama",
  purpose: "chat",
  capabilities: ["chat", "completions", "tools"],
  parameters: 100,
  quantization: [{ form: "f32", parameters: 100 }],
  context_length: 512,
  layers: 2,
  hidden_size: 16,
  cache: { kind: "full", window: null, bits: 32, bytes_per_token: 64, bytes_per_text: 0 },
  bytes_weights: 400,
  chat_template: "{{ messages }}",
  thinks: false,
  sampling: { temperature: 0.2, top_k: null, top_p: 0.9, min_p: null },
  chat_template_options: ["tools"],
  not_supported: [],
  notes: [],
};

const MODELS: readonly ModelRecord[] = [
  { name: "tiny", created_s: 1_700_000_000, owner: "local", bytes: 300, format: "gguf" },
  { name: "org/name", created_s: 1_700_000_001, owner: "org", bytes: 500, format: "safetensors" },
];
const recordOf = (name: string) => MODELS.find((model) => model.name === untagged(name)) ?? null;

export const EXPLANATION = {
  prompt_tokens: 40,
  matched_tokens: 32,
  departure: {
    position: 35,
    prompt: { token_id: 7, text_before: "what is", text_after: " it" },
    cached: { token_id: 8, text_before: "what is", text_after: " that" },
  },
};
export const USAGE = { prompt_tokens: 5, cached_tokens: 3, completion_tokens: 2, reasoning_tokens: null };
/** The same in an answer. */
export const USAGE_BODY = {
  prompt_tokens: 5,
  completion_tokens: 2,
  total_tokens: 7,
  prompt_tokens_details: { cached_tokens: 3 },
};

/** Follows its script; remembers what it was asked, and how each answer ended. */
export class ScriptedBackend implements Backend {
  readonly requests: GenerationRequest[] = [];
  readonly embedded: EmbedRequest[] = [];
  events = 0;
  aborted = 0;
  /** Generators that ran their clean-up. */
  closed = 0;
  readonly #script: Script;

  constructor(script: Script = hello) {
    this.#script = script;
  }

  get last(): GenerationRequest {
    const request = this.requests.at(-1);
    if (request === undefined) throw new Error("The backend was not asked");
    return request;
  }

  async embed(request: EmbedRequest): Promise<Embeddings> {
    this.embedded.push(request);
    return { vectors: request.inputs.map((_, index) => Float32Array.of(index, 0.5, -1)), prompt_tokens: 7 };
  }

  /** The longer the second text, the better. */
  async rerank(request: RerankRequest): Promise<Scores> {
    return { scores: request.pairs.map(([, second]) => second.length / 100), prompt_tokens: 9 };
  }

  async count(request: GenerationRequest): Promise<number> {
    this.requests.push(request);
    return USAGE.prompt_tokens;
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    this.requests.push(request);
    signal.addEventListener("abort", () => {
      this.aborted++;
    });
    try {
      if (!MODELS.some((model) => model.name === request.model)) {
        throw new Failure("not_found", `Cannot use model "${request.model}": it is not known here`, "model");
      }
      for await (const event of this.#script(request, signal)) {
        this.events++;
        yield event;
      }
    } finally {
      this.closed++;
    }
  }
}

/** A piece of the only choice, of whose tokens nothing is told. */
export function said(text: string): GenerationEvent {
  return { kind: "text", choice: 0, text, tokens: [] };
}

export async function* hello(): AsyncGenerator<GenerationEvent, void, undefined> {
  yield { kind: "start", prompt_tokens: 5 };
  yield said("Hello");
  yield said(", wörld");
  yield { kind: "finish", choice: 0, reason: "stop", stop_text: null };
  yield { kind: "end", usage: USAGE };
}

/** A drawn token; at the second place of an answer another was likelier. */
export function token(text: string, text_offset: number, logprob: number): DrawnReport {
  const tell = (text: string, logprob: number) => ({ text, bytes: [...new TextEncoder().encode(text)], logprob });
  const likelier = [tell("a", -0.25)];
  return {
    ...tell(text, logprob),
    text_offset,
    top: text_offset === 0 ? likelier : [...likelier, tell(text, logprob)],
  };
}

/** Says its prompt and the number of the choice; the last choice comes first, and the first has not ended by itself. */
export async function* saying(request: GenerationRequest): AsyncGenerator<GenerationEvent, void, undefined> {
  yield { kind: "start", prompt_tokens: 5 };
  const prompt = request.prompt.kind === "text" ? request.prompt.text : "hi";
  const choices = Array.from({ length: request.choices }, (_, choice) => choice).toReversed();
  for (const choice of choices) {
    const tokens = [token(prompt, 0, -0.125), token(` ${choice}`, prompt.length, -0.5)];
    yield { kind: "text", choice, text: `${prompt} ${choice}`, tokens: request.logprobs === null ? [] : tokens };
  }
  for (const choice of choices)
    yield { kind: "finish", choice, reason: choice === 0 ? "length" : "stop", stop_text: null };
  yield { kind: "end", usage: { ...USAGE, completion_tokens: 2 * request.choices } };
}

/** Begins and then says a word every so often, for ever. */
export async function* endless(_: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void> {
  yield { kind: "start", prompt_tokens: 5 };
  while (!signal.aborted) {
    await Bun.sleep(5);
    yield said("word ");
  }
}

/** Fails after as many events of a good answer. */
export function failing(error: unknown, after: number): Script {
  return async function* () {
    let sent = 0;
    for await (const event of hello()) {
      if (sent++ === after) throw error;
      yield event;
    }
  };
}

const NOW_MS = 1_763_000_000_999;

const NO_AUDIT: AuditLog = {
  record: () => undefined,
  page: () => ({ data: [], next_cursor: null }),
  all: () => [],
  stats: () => ({
    requests: 0,
    prompt_tokens: 0,
    completion_tokens: 0,
    left_machine: 0,
    costs: {},
    by_status: [],
    by_backend: [],
  }),
  follow: () => () => undefined,
};

const NO_DESK: RoutingDesk = {
  providers: {
    providers: () => [],
    keyState: () => "none",
    defaults: () => NO_DEFAULTS,
    key: async () => null,
    save: async () => undefined,
    remove: () => false,
  },
  prices: { prices: () => [], replace: () => undefined },
  rules: { rules: () => [], add: (words) => ({ id: 1, ...words }), change: () => undefined, remove: () => undefined },
  checkPattern: () => () => false,
  explain: () => {
    throw new Failure("unsupported", "Cannot explain a route: this server has none");
  },
  detect: async () => ({ provider: null, tried: [] }),
  test: async () => ({ outcome: "unreachable", detail: "", latency_ms: 0, models: [] }),
  loaded: async () => [],
  breakers: () => [],
  resetBreakers: () => undefined,
};

const outlook = async (): Promise<Outlook> => ({
  resident: true,
  queue_length: 0,
  context_length: 64,
  evicts: [],
  purpose: "chat",
  bytes_weights: 100,
});

/** A router that knows this machine only. */
function localGateway(backend: Backend): Router {
  return new Router({
    local: backend,
    hasModel: () => true,
    meaning: (model) => ({ model, profile: null }),
    outlook,
    watch: new LocalWatch(() => performance.now()),
    providers: {
      providers: () => [],
      keyState: () => "none",
      defaults: () => NO_DEFAULTS,
      key: async () => null,
    },
    rules: () => [],
    prices: () => [],
    settings: () => ({
      enable_cloud_routing: true,
      default_provider: null,
      private_hosts: [],
      default_model: null,
      local_only_models: [],
    }),
    guard: new AddressGuard(
      async () => [],
      () => performance.now(),
    ),
    tuning: TUNING,
    random: Math.random,
  });
}

/** `unread_ms_max`, `silence_ms`: long enough never to matter, unless it is the matter. */
export function serverOf(
  backend: Backend,
  unread_ms_max = 60_000,
  silence_ms = 60_000,
  more: Partial<Pick<ServerParts, "keys" | "responses" | "tokens">> = {},
) {
  const bugs: { error: unknown; request_id: string }[] = [];
  const owner = new ScriptedOwner();
  const hub = new ScriptedHub();
  let count = 0;
  const audit: AuditEntry[] = [];
  const app = createServer({
    gateway: localGateway(backend),
    desk: NO_DESK,
    audit: { ...NO_AUDIT, record: (entry) => audit.push(entry) },
    models: { models: () => MODELS, card: () => CARD, record: recordOf },
    outlook,
    prefix_cache: { explain: async () => EXPLANATION },
    owner,
    profiles: new ScriptedProfiles(),
    hub,
    keys: new ScriptedKeys(),
    isKeyRequired: () => false,
    responses: new ScriptedShelf(),
    tokens: NO_TOKENS,
    version: "1.2.3",
    requestId: () => `req_${(++count).toString(16).padStart(12, "0")}`,
    now: () => NOW_MS,
    unread_ms_max,
    silence_ms: () => silence_ms,
    reportBug: (error, request_id) => bugs.push({ error, request_id }),
    ...more,
  });
  const ask = async (path: string, init?: RequestInit) =>
    await app.handle(new Request(`http://localhost${path}`, init));
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) =>
    await ask(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { app, ask, post, bugs, owner, hub, audit };
}

/** The data of each event of a stream, parsed but for the last word `[DONE]`. */
export async function readEvents(response: Response): Promise<unknown[]> {
  const text = await response.text();
  const blocks = text.split("\n\n");
  if (blocks.pop() !== "") throw new Error(`The stream ends within an event: ${text.slice(-80)}`);
  return blocks.map((block) => {
    if (!block.startsWith("data: ")) throw new Error(`Not an event: ${block}`);
    const data = block.slice("data: ".length);
    return data === "[DONE]" ? data : JSON.parse(data);
  });
}

/** The problem details of a refusal, which must be whole. */
export async function readProblem(response: Response): Promise<Static<typeof problemSchema>> {
  const body = await response.json();
  const type = response.headers.get("content-type");
  if (type === "application/problem+json" && Value.Check(problemSchema, body)) return body;
  throw new Error(`No problem details, but ${type}: ${JSON.stringify(body)}`);
}
