/** Rows of the audit for requests that come to no dialect: what the owner sets, and whatever is refused before. */

import { UNROUTED } from "../core/audit.ts";
import type { RouteParts } from "./parts.ts";

/** Those that only look and may are left out: pages that ask every second would push out what matters. */
export async function audited(
  parts: RouteParts,
  request: Request,
  answer: (request: Request) => Promise<Response>,
  /** Of the route that it meant; null: none. What an unknown path says is not kept. */
  pathOf: (request: Request) => string | null,
): Promise<Response> {
  const time_ms = parts.now();
  const started_ms = performance.now();
  const response = await answer(request);
  const is_wrong = response.status >= 400;
  if (parts.ids.isInDialect(request) || (!is_wrong && LOOKS.includes(request.method))) return response;
  const path = pathOf(request);
  parts.audit.record({
    ...UNROUTED,
    time_ms,
    request_id: parts.ids.of(request),
    key: parts.gate.callerOf(request)?.name ?? null,
    endpoint: path === null ? request.method : `${request.method} ${path}`,
    dialect: "http",
    duration_ms: performance.now() - started_ms,
    status: request.signal.aborted ? "cancelled" : is_wrong ? "error" : "success",
    error_type: is_wrong ? `http_${response.status}` : null,
  });
  return response;
}

const LOOKS = ["GET", "HEAD", "OPTIONS"];
