/** What a caller of Anthropic's protocol is told when a request fails. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import { type Problem, type ProblemKind, statement } from "./problem.ts";

/** Its clients heed the same advice about trying again. */
export function anthropicProblem(error: unknown, request_id: string): Problem {
  const { kind, status, headers } = statement(error, request_id);
  return {
    status: kind === "overloaded" ? OVERLOADED : status,
    headers: { "content-type": "application/json", ...headers, "request-id": request_id },
    body: anthropicError(error, request_id),
  };
}

/** Also the event that ends a stream which had begun well. */
export function anthropicError(error: unknown, request_id: string) {
  const { kind, message } = statement(error, request_id);
  // Agents look for these words at the beginning, to know that they must shorten their talk.
  const words = kind === "context_overflow" ? `${TOO_LONG}: ${message.split(`${TOO_LONG}: `).at(-1)}` : message;
  return { type: "error", error: { type: TYPES[kind], message: words }, request_id };
}

const TOO_LONG = "prompt is too long";

/** Its own status for a server that has too much to do; 429 is for a caller who asks too much. */
const OVERLOADED = 529;

const TYPES: Readonly<Record<ProblemKind, string>> = {
  invalid_request: "invalid_request_error",
  unsupported: "invalid_request_error",
  context_overflow: "invalid_request_error",
  method_not_allowed: "invalid_request_error",
  unsupported_media_type: "invalid_request_error",
  unauthorized: "authentication_error",
  forbidden: "permission_error",
  not_found: "not_found_error",
  too_large: "request_too_large",
  overloaded: "overloaded_error",
  no_memory: "overloaded_error",
  timeout: "timeout_error",
  upstream_timeout: "timeout_error",
  cancelled: "api_error",
  engine: "api_error",
  internal: "api_error",
  upstream: "api_error",
  unavailable: "api_error",
};

export const anthropicErrorSchema = Type.Object(
  {
    type: Type.Literal("error"),
    error: Type.Object({ type: Type.String(), message: Type.String() }),
    request_id: Type.String(),
  },
  { description: "The error of Anthropic's protocol." },
);
