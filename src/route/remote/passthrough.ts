/** A provider's answer on its way to a caller of the same protocol: not a byte is changed, only watched. */

import { readUpTo } from "../../core/bounded.ts";
import type { Reply, Trace } from "../../core/exchange.ts";
import { begun } from "../begun.ts";
import type { Connection } from "./connection.ts";
import { keptHeaders } from "./refusal.ts";
import { broken, faltering } from "./upstream-failure.ts";
import { usageIn } from "./usage.ts";
import { eventData, wholeEvents } from "./whole-events.ts";

/** Some of the largest answers are lists of embeddings. */
const BODY_BYTES_MAX = 64 * 2 ** 20;

export async function passBody(connection: Connection, response: Response, trace: Trace): Promise<Reply> {
  expectType(connection, response, "application/json");
  const body = await readBody(connection, response);
  const value = parsed(connection, body);
  trace.usage = usageIn(value, null);
  // Some gateways tell so of what failed behind them.
  if (tellsError(value)) trace.error_type = "upstream";
  return { kind: "body", status: response.status, headers: keptHeaders(response.headers), body };
}

/** Waits for the first event: what fails before it may be tried elsewhere. A comment or a ping is none. */
export async function passStream(connection: Connection, response: Response, trace: Trace): Promise<Reply> {
  expectType(connection, response, "text/event-stream");
  const pieces = await begun(watched(connection, response, new StreamWatch(trace)));
  if (pieces === null) throw faltering("upstream", `Cannot read ${connection.provider}: its stream has no event`);
  const headers = { "content-type": response.headers.get("content-type") ?? "text/event-stream" };
  return { kind: "stream", headers, pieces };
}

async function* watched(
  connection: Connection,
  response: Response,
  watch: StreamWatch,
): AsyncGenerator<Uint8Array, void, undefined> {
  let begun = false;
  try {
    for await (const piece of fromFirstWord(wholeEvents(connection.chunks(response), connection.provider))) {
      watch.see(piece);
      if (!begun && watch.failed_at_once) {
        watch.forget();
        throw faltering("upstream", `Cannot use ${connection.provider}: its stream begins with an error`);
      }
      begun = true;
      yield piece;
    }
    if (begun && !watch.ended && !watch.failed) {
      throw faltering("upstream", `Cannot read ${connection.provider}: its stream ended early`);
    }
  } catch (error) {
    throw connection.trouble(error);
  } finally {
    connection.close();
  }
}

// What tells that somebody is there takes some bytes each; a stream of nothing else is held no longer.
const BEFORE_BYTES_MAX = 2 ** 16;

/** What comes before the first word comes with it. */
async function* fromFirstWord(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let before: Buffer | null = Buffer.alloc(0);
  for await (const piece of pieces) {
    if (before === null) yield piece;
    else if (!saysNothing(piece)) {
      yield before.length === 0 ? piece : Buffer.concat([before, piece]);
      before = null;
    } else if (before.length < BEFORE_BYTES_MAX) before = Buffer.concat([before, piece]);
  }
}

/** Comments, and events that only tell that the server is there. */
function saysNothing(piece: Buffer): boolean {
  return eventData(piece).every(isPing);
}

function isPing(data: string): boolean {
  return data === "" || PING.test(data);
}

const PING = /^\{\s*"type"\s*:\s*"ping"\s*\}$/;

/** Looks into those events only that may say something of the whole. */
class StreamWatch {
  ended = false;
  failed = false;
  /** Whether nothing came before the error. */
  failed_at_once = false;
  readonly #trace: Trace;

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  /** The caller will not see this stream. */
  forget(): void {
    this.#trace.usage = null;
    this.#trace.error_type = null;
  }

  see(piece: Buffer): void {
    if (!TELLING.some((word) => piece.includes(word))) return;
    let is_first = true;
    for (const data of eventData(piece)) {
      if (isPing(data)) continue;
      this.#read(data);
      if (is_first) this.failed_at_once = this.failed;
      is_first = false;
    }
  }

  #read(data: string): void {
    if (data === "[DONE]") {
      this.ended = true;
      return;
    }
    const value = tryParse(data);
    if (typeof value !== "object" || value === null) return;
    this.#trace.usage = usageIn(value, this.#trace.usage);
    const type = "type" in value ? value.type : null;
    if (isEnd(type, value)) this.ended = true;
    if (type === "error" || type === "response.failed" || tellsError(value)) {
      this.failed = true;
      this.#trace.error_type = "upstream";
    }
  }
}

/** As both write them, with a space and without. */
const TELLING = [
  "[DONE]",
  '"usage":{',
  '"usage": {',
  '"finish_reason":"',
  '"finish_reason": "',
  '"error"',
  "message_stop",
  "response.completed",
  "response.incomplete",
  "response.failed",
].map((word) => Buffer.from(word));

function tellsError(value: unknown): boolean {
  return typeof value === "object" && value !== null && "error" in value && Boolean(value.error);
}

function isEnd(type: unknown, value: object): boolean {
  if (type === "message_stop" || type === "response.completed" || type === "response.incomplete") return true;
  // Some servers leave out the last word [DONE].
  if (!("choices" in value) || !Array.isArray(value.choices)) return false;
  return value.choices.some((choice) => typeof choice?.finish_reason === "string");
}

function expectType(connection: Connection, response: Response, expected: string): void {
  const found = response.headers.get("content-type");
  if (found?.split(";")[0]?.trim().toLowerCase() === expected) return;
  const state = `it answered with ${found === null ? "no content type" : `"${found}"`}, expected "${expected}"`;
  throw broken(`Cannot read ${connection.provider}: ${state}`);
}

async function readBody(connection: Connection, response: Response): Promise<Buffer> {
  const announced = Number(response.headers.get("content-length") ?? 0);
  // HTTP holds the body to what was announced; reading it in pieces costs a third of a routed request.
  const is_plain = (response.headers.get("content-encoding") ?? "identity") === "identity";
  if (is_plain && announced > 0 && announced <= BODY_BYTES_MAX) {
    connection.began();
    const bytes = await response.bytes();
    connection.finish();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  const body = await readUpTo(connection.chunks(response), BODY_BYTES_MAX);
  if (body === null) throw broken(`Cannot read ${connection.provider}: its answer exceeds ${BODY_BYTES_MAX} bytes`);
  connection.finish();
  return body;
}

function parsed(connection: Connection, body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    throw broken(`Cannot read ${connection.provider}: its answer is not JSON`);
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
