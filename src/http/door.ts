/**
 * Where requests of a dialect come in: each is routed as it came, and held to its schema only where it is answered
 * through the neutral form. What another server answers in the same dialect, this one need not understand.
 */

import type { Static, TSchema } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { ApiKey } from "../core/api-keys.ts";
import { assert } from "../core/assert.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../core/encoding.ts";
import type { Call, Endpoint, Protocol, Reply } from "../core/exchange.ts";
import { Failure } from "../core/failure.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { AnswerWriter } from "../wire/openai-answer.ts";
import { isBug } from "../wire/problem.ts";
import { violation } from "../wire/violation.ts";
import { waitingWords } from "../wire/waiting.ts";
import { parseJson, readText } from "./body.ts";
import { streamed } from "./event-stream.ts";
import { Exchange } from "./exchange.ts";
import { Events, type Framing, type GenerationAsked, streamedAnswer, type Tell, wholeAnswer } from "./generation.ts";
import type { RouteParts } from "./parts.ts";
import { neverSilent, settlesWithin } from "./silence.ts";

/** A request that was understood, and how its answer is written. */
type Asked =
  | GenerationAsked
  | { readonly kind: "embedding"; readonly request: EmbedRequest; body(embeddings: Embeddings): object }
  | { readonly kind: "rerank"; readonly request: RerankRequest; body(scores: Scores): object }
  | { readonly kind: "count"; readonly request: GenerationRequest; body(prompt_tokens: number): object }
  | ModelKept;

/** Of a dialect that can ask for a model to be in memory, or not to be, and for nothing else. */
interface ModelKept {
  readonly kind: "keep";
  readonly model: string;
  readonly keep_s: number | null;
  body(): object;
}

export interface Door<Schema extends TSchema> {
  readonly protocol: Protocol;
  readonly endpoint: Endpoint;
  readonly schema: Schema;
  /** Headers that a provider of the same protocol is to see. */
  readonly passed_headers: readonly string[];
  /** Where a model's name has several spellings. */
  readonly modelOf?: (name: string) => string;
  /** Whether a body says all that is asked; where it is left out, every one does. */
  readonly isWhole?: (body: unknown, caller: ApiKey | null) => boolean;
  /** What it calls the parameters that others call so. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** `caller`: the key that it came with; null: without one. */
  read(body: Static<Schema>, request_id: string, caller: ApiKey | null): Asked;
  readonly framing: Framing;
  /** The chunk that ends a stream which had begun well. */
  lastWords(error: unknown, request_id: string): object;
}

export function openDoor<Schema extends TSchema>(
  parts: RouteParts,
  door: Door<Schema>,
): (request: Request) => Promise<Response> {
  const compiled = once(() => TypeCompiler.Compile(door.schema)); // for all doors it takes 40 ms, which no start waits for
  const read = (value: unknown, request_id: string, caller: ApiKey | null) => {
    const schema = compiled();
    if (!schema.Check(value)) throw violation(schema.Errors(value));
    return door.read(value, request_id, caller);
  };
  return async (request) => {
    const { protocol: dialect, endpoint } = door;
    const caller = parts.gate.callerOf(request);
    const exchange = new Exchange(parts, {
      request_id: parts.ids.enterDialect(request),
      dialect,
      endpoint,
      key: caller?.name ?? null,
      client: request.signal,
    });
    try {
      const body = await readText(request, door.protocol);
      const value = parseJson(body);
      const asked = once(() => read(value, exchange.request_id, caller));
      const call = { ...callOf(door, request, caller, exchange, value, asked), body };
      const unrouted = await answerHere(parts, exchange, call, asked);
      if (unrouted !== null) return unrouted;
      const opening = parts.gateway.open(call, exchange.trace, exchange.signal);
      const words = call.stream ? wordsOf(parts, door, exchange) : null;
      if (words === null || (await settlesWithin(parts.silence_ms(), opening))) {
        return await respond(parts, door, exchange, await opening, asked);
      }
      let begun: AnswerWriter | null = null;
      const pieces = afterWaiting(words, parts.silence_ms, opening, (reply) => {
        begun = writerOf(reply, asked);
        return piecesOf(parts, door, exchange, reply, asked);
      });
      const lastWords = (error: unknown) => failureOf(door, exchange, begun, error);
      return streamed({ pieces, lastWords, headers: { "content-type": door.framing.media_type } }, exchange, parts);
    } catch (error) {
      exchange.fail(error);
      if (exchange.trace.backend !== null) parts.ids.failOn(request, exchange.route);
      throw inOwnWords(error, door.parameters ?? {});
    }
  };
}

/** A failure of what comes after the door names a parameter as most dialects do. */
function inOwnWords(error: unknown, parameters: Readonly<Record<string, string>>): unknown {
  if (!(error instanceof Failure) || error.parameter === null) return error;
  const { kind, message, parameter, retry_after_s } = error;
  const own = parameters[parameter];
  return own === undefined ? error : new Failure(kind, message, own, retry_after_s);
}

/** What keeps a model, or is not waited for; null: it is for a gateway. */
async function answerHere(
  parts: RouteParts,
  exchange: Exchange,
  call: Call,
  asked: () => Asked,
): Promise<Response | null> {
  // No provider is asked in Ollama's protocol: all of it is understood here.
  if (call.protocol !== "ollama" && call.is_whole) return null;
  const wanted = asked();
  if (wanted.kind === "keep") return await keep(parts, exchange, wanted);
  const is_waited_for = wanted.kind !== "generation" || !wanted.background;
  return is_waited_for ? null : begin(parts, exchange, call, wanted);
}

function callOf(
  door: Pick<Door<TSchema>, "protocol" | "endpoint" | "passed_headers" | "modelOf" | "isWhole">,
  request: Request,
  caller: ApiKey | null,
  exchange: Exchange,
  value: unknown,
  asked: () => Asked,
): Omit<Call, "body"> {
  const model = (door.modelOf ?? String)(nonEmptyText(value, "model") ?? modelOf(asked()));
  refuseUnwritable(model);
  exchange.model_asked = model;
  return {
    request_id: exchange.request_id,
    protocol: door.protocol,
    endpoint: door.endpoint,
    model,
    is_whole: door.isWhole?.(value, caller) ?? true,
    stream: typeof value === "object" && value !== null && "stream" in value && value.stream === true,
    headers: passedHeaders(request, door.passed_headers),
    local_only: privacyOf(request, caller),
    neutral: () => {
      const neutral = asked();
      assert(neutral.kind !== "keep", "what keeps a model is not routed");
      return neutral;
    },
  };
}

async function respond(
  parts: RouteParts,
  door: Pick<Door<TSchema>, "framing" | "lastWords">,
  exchange: Exchange,
  reply: Reply,
  asked: () => Asked,
): Promise<Response> {
  const own = { "content-type": door.framing.media_type };
  const stream = (
    pieces: AsyncIterator<string | Uint8Array, void, undefined>,
    headers: Readonly<Record<string, string>> = own,
    writer: AnswerWriter | null = null,
  ) => {
    return streamed(
      { pieces, lastWords: (error) => failureOf(door, exchange, writer, error), headers },
      exchange,
      parts,
    );
  };
  switch (reply.kind) {
    case "stream":
      exchange.hold(reply.pieces);
      exchange.tokenCame();
      return stream(reply.pieces, reply.headers);
    case "body":
      return whole(exchange, reply.body, reply);
    case "events": {
      exchange.hold(reply.events);
      const wanted = asked();
      assert(wanted.kind === "generation", "events answer a generation");
      const events = new Events(reply.events, exchange);
      if (wanted.stream) {
        const events_of = streamedAnswer(wanted, events, door.framing);
        return stream(spoken(parts, door, exchange, events_of), own, wanted.writer);
      }
      return json(exchange, await wholeAnswer(wanted, events));
    }
    case "embeddings": {
      const wanted = asked();
      assert(wanted.kind === "embedding", "vectors answer an embedding");
      return json(exchange, wanted.body(reply.embeddings));
    }
    case "scores": {
      const wanted = asked();
      assert(wanted.kind === "rerank", "scores answer a reranking");
      return json(exchange, wanted.body(reply.scores));
    }
    case "count": {
      const wanted = asked();
      assert(wanted.kind === "count", "a count answers a question for it");
      return json(exchange, wanted.body(reply.prompt_tokens));
    }
  }
}

/** Who writes what has begun; null: another server does. */
function writerOf(reply: Reply, asked: () => Asked): AnswerWriter | null {
  const wanted = reply.kind === "events" ? asked() : null;
  return wanted?.kind === "generation" ? wanted.writer : null;
}

/** The last chunk of a stream that failed. */
function failureOf(
  { framing, lastWords }: Pick<Door<TSchema>, "framing" | "lastWords">,
  { request_id }: Exchange,
  writer: AnswerWriter | null,
  error: unknown,
): string {
  return framing.frame(writer?.failed?.(error) ?? lastWords(error, request_id));
}

/** Makes what is said in a silence: where the request stands now. null: the protocol has no place for it. */
function wordsOf(
  { owner }: RouteParts,
  { framing: { waiting } }: Pick<Door<TSchema>, "framing">,
  { request_id }: Exchange,
): (() => string) | null {
  return waiting === null ? null : () => waiting(waitingWords(owner.waitOf(request_id)));
}

function spoken(
  parts: RouteParts,
  door: Pick<Door<TSchema>, "framing">,
  exchange: Exchange,
  pieces: AsyncGenerator<string, void, undefined>,
): AsyncGenerator<string, void, undefined> {
  const words = wordsOf(parts, door, exchange);
  return words === null ? pieces : neverSilent(pieces, words, parts.silence_ms);
}

async function* afterWaiting(
  words: () => string,
  silence_ms: () => number,
  opening: Promise<Reply>,
  piecesOf: (reply: Reply) => AsyncGenerator<string | Uint8Array, void, undefined>,
): AsyncGenerator<string | Uint8Array, void, undefined> {
  do yield words();
  while (!(await settlesWithin(silence_ms(), opening)));
  yield* piecesOf(await opening);
}

/** Of an answer to a stream that has begun: also a provider's refusal can only be an event of it then. */
async function* piecesOf(
  parts: RouteParts,
  { framing }: Pick<Door<TSchema>, "framing">,
  exchange: Exchange,
  reply: Reply,
  asked: () => Asked,
): AsyncGenerator<string | Uint8Array, void, undefined> {
  if (reply.kind === "body") return yield framing.frame(JSON.parse(new TextDecoder().decode(reply.body)));
  assert(reply.kind === "stream" || reply.kind === "events", "only answers are streamed");
  if (reply.kind === "events") {
    const wanted = asked();
    assert(wanted.kind === "generation", "events answer a generation");
    exchange.hold(reply.events);
    const pieces = streamedAnswer(wanted, new Events(reply.events, exchange), framing);
    return yield* spoken(parts, { framing }, exchange, pieces);
  }
  exchange.hold(reply.pieces);
  exchange.tokenCame();
  for (let next = await reply.pieces.next(); next.done !== true; next = await reply.pieces.next()) yield next.value;
}

/** The answer itself goes to whoever keeps it. */
function begin(parts: RouteParts, exchange: Exchange, call: Call, wanted: GenerationAsked): Response {
  const { background, writer } = wanted;
  assert(background !== undefined, "only what may run on is begun");
  exchange.stay();
  const answer = async (tell: Tell) => {
    try {
      const reply = await parts.gateway.open(call, exchange.trace, exchange.signal);
      assert(reply.kind === "events", "what is not whole is answered in neutral form");
      exchange.hold(reply.events);
      const events = new Events(reply.events, exchange);
      for (let is_open = true; is_open; ) {
        const event = await events.next();
        tell(writer.chunks(event));
        is_open = event.kind !== "end";
      }
      exchange.succeed();
    } catch (error) {
      if (isBug(error) && !exchange.left) parts.reportBug(error, exchange.request_id);
      exchange.fail(error);
      throw exchange.left ? new Failure("cancelled", "Cannot go on: the answer was cancelled") : error;
    }
  };
  return background(answer, () => exchange.leave());
}

async function keep(parts: RouteParts, exchange: Exchange, { model, keep_s, body }: ModelKept): Promise<Response> {
  await parts.owner.keep(model, keep_s);
  Object.assign(exchange.trace, { backend: "local", model_served: model, route_reason: "keep_alive" });
  return json(exchange, body());
}

function modelOf(asked: Asked): string {
  if (asked.kind === "keep") return asked.model;
  return asked.kind === "generation" ? asked.generations[0].model : asked.request.model;
}

function json(exchange: Exchange, body: object): Response {
  return whole(exchange, JSON.stringify(body), { status: 200, headers: { "content-type": "application/json" } });
}

function whole(
  exchange: Exchange,
  body: string | Uint8Array,
  { status, headers }: { readonly status: number; readonly headers: Readonly<Record<string, string>> },
): Response {
  exchange.succeed();
  return new Response(body, { status, headers: { ...headers, "x-bunsen-route": exchange.route } });
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function nonEmptyText(value: unknown, field: string): string | null {
  if (typeof value !== "object" || value === null) return null;
  const found: unknown = Reflect.get(value, field);
  return typeof found === "string" && found !== "" ? found : null;
}

// Names of models have some dozens; each is kept in the audit and tried against every rule.
const MODEL_CHARACTERS_MAX = 512;

/** A name goes into a header, the audit and other servers' requests: all must read the same. */
function refuseUnwritable(model: string): void {
  const wrong = (state: string) => new Failure("invalid_request", `Cannot use "model": ${state}`, "model");
  if (model.length > MODEL_CHARACTERS_MAX) {
    throw wrong(`it has ${model.length} characters, at most ${MODEL_CHARACTERS_MAX} are read`);
  }
  if (!model.isWellFormed() || /\p{Cc}/u.test(model)) throw wrong("it has a control character or half a character");
}

function passedHeaders(request: Request, names: readonly string[]): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of names) {
    const value = request.headers.get(name);
    if (value !== null) passed[name] = value;
  }
  return passed;
}

const PRIVACY_HEADER = "x-bunsen-privacy";

function privacyOf(request: Request, caller: ApiKey | null): string | null {
  const found = request.headers.get(PRIVACY_HEADER);
  if (found === null) return caller?.privacy === "local-only" ? `the API key "${caller.name}"` : null;
  if (found === "local-only") return `the header ${PRIVACY_HEADER}`;
  const state = `expected "local-only", found ${JSON.stringify(found)}`;
  throw new Failure("invalid_request", `Cannot use the header ${PRIVACY_HEADER}: ${state}`, PRIVACY_HEADER);
}
