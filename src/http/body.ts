/** Reads a request's JSON within limits. Knows no dialect. */

import { readUpTo } from "../core/bounded.ts";
import type { Protocol } from "../core/exchange.ts";
import { Failure } from "../core/failure.ts";
import { Refusal } from "../wire/problem.ts";

/** A prompt of a million tokens is about 5 MB of text or 8 MB of token ids; beyond twice that it is a mistake. */
export const BODY_BYTES_MAX = 16 * 2 ** 20;

/** A request has 4 levels, a schema of JSON in it some dozens; what walks a value by calling itself fails at thousands. */
const NESTING_MAX = 128;

export async function readJson(request: Request, protocol: Protocol = "openai"): Promise<unknown> {
  return parseJson(await readText(request, protocol));
}

export async function readText(request: Request, protocol: Protocol = "openai"): Promise<string> {
  // Only JSON's type makes a browser ask before it sends a foreign page's request.
  const type = request.headers.get("content-type");
  const essence = type?.split(";")[0]?.trim().toLowerCase();
  const is_casual = protocol === "ollama" && (essence === undefined || essence === CURL_TYPE);
  if (essence !== "application/json" && !(is_casual && request.headers.get("origin") === null)) {
    throw unreadable(`its content type is ${type === null ? "missing" : `"${type}"`}, expected "application/json"`);
  }
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw unreadable(`its content encoding is "${encoding}", expected none`);
  return decode(await readBytes(request));
}

/** Of `curl -d`; Ollama's users send it, or no type at all. A browser would name the page's origin beside. */
const CURL_TYPE = "application/x-www-form-urlencoded";

function unreadable(state: string): Refusal {
  return new Refusal("unsupported_media_type", `Cannot read the body: ${state}`);
}

async function readBytes(request: Request): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > BODY_BYTES_MAX) throw tooLarge(`${announced} bytes`);
  // HTTP holds the body to what was announced; reading it in pieces costs a third of a routed request.
  if (announced > 0) return await request.bytes();
  if (request.body === null) return new Uint8Array();
  const bytes = await readUpTo(request.body, BODY_BYTES_MAX);
  if (bytes === null) throw tooLarge("more");
  return bytes;
}

/** A body that would not be read is refused. */
export function noBody(request: Request): object {
  if (request.body === null) return {};
  throw new Failure("invalid_request", "Cannot use the body: this route takes none");
}

function tooLarge(found: string): Failure {
  return new Failure("too_large", `Cannot read the body: expected at most ${BODY_BYTES_MAX} bytes, found ${found}`);
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true });

function decode(bytes: Uint8Array): string {
  try {
    return UTF_8.decode(bytes);
  } catch {
    throw new Failure("invalid_request", "Cannot read the body: it is not UTF-8");
  }
}

export function parseJson(text: string): unknown {
  if (text.trim() === "") {
    throw new Failure("invalid_request", "Cannot read the body: it is empty, expected a JSON object");
  }
  try {
    const value: unknown = JSON.parse(text);
    if (nestsBeyond(value, NESTING_MAX)) throw tooDeep();
    return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error instanceof RangeError ? tooDeep() : error;
    const state = error.message.replace(/^JSON Parse error: /, "");
    throw new Failure("invalid_request", `Cannot read the body: it is not JSON (${state})`);
  }
}

/** Objects and arrays inside one another. */
function nestsBeyond(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  const inner = Array.isArray(value) ? value : Object.values(value);
  return inner.some((each) => nestsBeyond(each, levels - 1));
}

function tooDeep(): Failure {
  return new Failure("invalid_request", `Cannot read the body: it is nested deeper than ${NESTING_MAX} levels`);
}
