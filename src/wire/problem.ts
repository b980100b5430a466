/** What a caller is told when a request fails: problem details (RFC 9457) that also carry OpenAI's error object. */

import { Type } from "@sinclair/typebox";
import { Failure, type FailureKind } from "../core/failure.ts";

/** What only the web's own rules refuse. */
type RefusalKind = "method_not_allowed" | "unsupported_media_type";

export type ProblemKind = FailureKind | RefusalKind | "internal";

/** `allow` lists the methods that the route takes. */
export class Refusal extends Error {
  readonly kind: RefusalKind;
  readonly allow: readonly string[];

  constructor(kind: RefusalKind, message: string, allow: readonly string[] = []) {
    super(message);
    this.kind = kind;
    this.allow = allow;
  }
}

export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** `instance`: the path that was asked for. An error that is neither a failure nor a refusal tells nothing of itself. */
export function problem(error: unknown, request_id: string, instance: string): Problem {
  const kind = kindOf(error);
  const { status, title } = PROBLEMS[kind];
  const inner = errorObject(error, request_id);
  const type = `urn:bunsen:problem:${kind.replaceAll("_", "-")}`;
  const headers = { "content-type": "application/problem+json", ...adviceOf(error) };
  return { status, headers, body: { type, title, status, detail: inner.message, instance, request_id, error: inner } };
}

/** The same for every dialect: what may be said of an error, and whether to try again. */
export function statement(error: unknown, request_id: string) {
  const kind = kindOf(error);
  const { message } = errorObject(error, request_id);
  return { kind, status: PROBLEMS[kind].status, headers: adviceOf(error), message };
}

/** The body of an event that ends a stream which had begun well. */
export function streamProblem(error: unknown, request_id: string): object {
  return { error: errorObject(error, request_id) };
}

export function isBug(error: unknown): boolean {
  return kindOf(error) === "internal";
}

interface ErrorObject {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

function errorObject(error: unknown, request_id: string): ErrorObject {
  const { type, code } = PROBLEMS[kindOf(error)];
  if (error instanceof Failure) {
    const missing = error.kind === "not_found" ? MISSING[error.parameter ?? ""] : undefined;
    return { message: error.message, type, param: error.parameter, code: missing ?? code };
  }
  if (error instanceof Refusal) return { message: error.message, type, param: null, code };
  const message = `Cannot answer: an error inside the server, which its log shows under ${request_id}`;
  return { message, type, param: null, code };
}

/** OpenAI's codes for what is not found, by the parameter that names it. */
const MISSING: Readonly<Partial<Record<string, string>>> = {
  model: "model_not_found",
  previous_response_id: "previous_response_not_found",
};

function adviceOf(error: unknown): Record<string, string> {
  const headers: Record<string, string> = { ...PROBLEMS[kindOf(error)].advice };
  if (error instanceof Failure && error.retry_after_s !== null) headers["retry-after"] = String(error.retry_after_s);
  if (error instanceof Refusal && error.allow.length > 0) headers["allow"] = error.allow.join(", ");
  return headers;
}

function kindOf(error: unknown): ProblemKind {
  return error instanceof Failure || error instanceof Refusal ? error.kind : "internal";
}

interface ProblemRow {
  readonly status: number;
  readonly title: string;
  /** `type` and `code` of OpenAI's error object. */
  readonly type: string;
  readonly code: string | null;
  readonly advice: Advice;
}

/** Headers that say whether to try again; without one, a client of OpenAI's does after 429 and any 5xx. */
type Advice = Readonly<Record<string, string>>;

/** A second: a place in a queue is free within a few. */
const TRY_SOON: Advice = { "retry-after": "1" };
/** Not a standard header: OpenAI's clients heed it. A damaged model stays so until its owner mends it. */
const TRY_NO_MORE: Advice = { "x-should-retry": "false" };
const ASK_FOR_KEY: Advice = { "www-authenticate": "Bearer" };

const PROBLEMS: Readonly<Record<ProblemKind, ProblemRow>> = {
  invalid_request: row(400, "The request is wrong", "invalid_request_error", null),
  unsupported: row(400, "Not supported", "invalid_request_error", "unsupported"),
  context_overflow: row(400, "The prompt does not fit the model", "invalid_request_error", "context_length_exceeded"),
  unauthorized: row(401, "Not authorised", "authentication_error", "invalid_api_key", ASK_FOR_KEY),
  forbidden: row(403, "Not allowed", "permission_error", "forbidden"),
  not_found: row(404, "Not found", "invalid_request_error", "not_found"),
  method_not_allowed: row(405, "Method not allowed", "invalid_request_error", "method_not_allowed"),
  too_large: row(413, "The request is too large", "invalid_request_error", "request_too_large"),
  unsupported_media_type: row(415, "Unsupported media type", "invalid_request_error", "unsupported_media_type"),
  overloaded: row(429, "Too many requests at once", "rate_limit_error", "overloaded", TRY_SOON),
  timeout: row(408, "The time is over", "invalid_request_error", "timeout"),
  cancelled: row(409, "Cancelled", "invalid_request_error", "cancelled"),
  no_memory: row(503, "Not enough memory", "server_error", "insufficient_memory", TRY_SOON),
  engine: row(500, "The engine failed", "server_error", "engine_error"),
  internal: row(500, "An error inside the server", "server_error", "internal_error"),
  upstream: row(502, "The provider failed", "server_error", "upstream_error"),
  unavailable: row(503, "Not available", "server_error", "unavailable", TRY_NO_MORE),
  upstream_timeout: row(504, "The provider took too long", "server_error", "upstream_timeout"),
};

function row(status: number, title: string, type: string, code: string | null, advice: Advice = {}): ProblemRow {
  return { status, title, type, code, advice };
}

export const problemSchema = Type.Object(
  {
    type: Type.String({ description: "Names the kind of problem." }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    instance: Type.String({ description: "The path that was asked for." }),
    request_id: Type.String(),
    error: Type.Object({
      message: Type.String(),
      type: Type.String(),
      param: Type.Union([Type.String(), Type.Null()]),
      code: Type.Union([Type.String(), Type.Null()]),
    }),
  },
  { description: "Problem details (RFC 9457) with the error object of OpenAI's protocol." },
);
