/** What an answer of a provider that is no success means. */

import { readUpTo } from "../../core/bounded.ts";
import type { Connection } from "./connection.ts";
import { type UpstreamAnswer, UpstreamFailure } from "./upstream-failure.ts";

/** Reads the body, and keeps it for a caller of the same protocol where it is JSON without the key that was `sent`. */
export async function refusal(
  connection: Connection,
  response: Response,
  sent: Readonly<Record<string, string>>,
): Promise<UpstreamFailure> {
  const { status } = response;
  const body = await readUpTo(connection.chunks(response), BODY_BYTES_MAX);
  connection.close();
  const message = `Cannot use ${connection.provider}: ${wordsOf(status)}`;
  const repeats_key = secretsOf(sent).some((secret) => body?.includes(secret));
  const answer = body === null || repeats_key ? null : answerOf(response, body);
  const retry_after_s = retryAfter(response.headers.get("retry-after"));
  const fault = { message, retryable: false, unhealthy: false, retry_after_s: null, answer };
  // Its words about a key may repeat the key, and a caller would take them for words about its own.
  if (status === 401 || status === 403) return new UpstreamFailure({ ...fault, kind: "upstream", answer: null });
  if (status === 404) return new UpstreamFailure({ ...fault, kind: "not_found" });
  if (status === 429) return new UpstreamFailure({ ...fault, kind: "overloaded", retryable: true, retry_after_s });
  if (status === 408) return new UpstreamFailure({ ...fault, kind: "timeout", retryable: true, unhealthy: true });
  if (status < 500) return new UpstreamFailure({ ...fault, kind: "invalid_request" });
  return new UpstreamFailure({ ...fault, kind: "upstream", retryable: true, unhealthy: true, retry_after_s });
}

/** What follows its scheme, where there is one. */
function secretsOf(headers: Readonly<Record<string, string>>): string[] {
  const values = [headers["authorization"] ?? "", headers["x-api-key"] ?? ""];
  return values.map((value) => value.replace(/^Bearer /, "")).filter((secret) => secret !== "");
}

/** Headers of an answer that speak of the answer and not of the connection. */
export function keptHeaders(headers: Headers): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of headers) if (KEPT.test(name)) kept[name] = value;
  return kept;
}

const KEPT = /^(?:content-type|retry-after|request-id|(?:x-ratelimit|anthropic|openai)-.+)$/;

// Longer than any error in words.
const BODY_BYTES_MAX = 2 ** 16;

function answerOf(response: Response, body: Buffer): UpstreamAnswer | null {
  try {
    JSON.parse(body.toString());
  } catch {
    return null;
  }
  return { status: response.status, headers: keptHeaders(response.headers), body };
}

function wordsOf(status: number): string {
  switch (status) {
    case 401:
    case 403:
      return `it refuses the key stored for it (${status})`;
    case 404:
      return "it does not know the model or the path (404)";
    case 429:
      return "it takes no more requests for now (429)";
    default:
      return `it answered with status ${status}`;
  }
}

/** In seconds, or a date. */
function retryAfter(header: string | null): number | null {
  if (header === null) return null;
  const seconds = /^\d+(?:\.\d+)?$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : null;
}
