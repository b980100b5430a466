/** Answers only callers on this machine's own name: a web page whose name was made to point here (DNS rebinding) is refused. */

import { Failure } from "../core/failure.ts";

const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i;

export function refuseForeign(request: Request): void {
  const host = request.headers.get("host") ?? new URL(request.url).host;
  if (!LOOPBACK.test(host)) throw foreign("Host", host);
  const origin = request.headers.get("origin");
  if (origin !== null && !isLoopbackOrigin(origin)) throw foreign("Origin", origin);
}

/** Where the Host header is not even a name. */
export function unnamed(request: Request): Failure {
  const host = request.headers.get("host");
  const state = `its Host header ${host === null ? "is missing" : `names "${host}"`}, ${EXPECTED}`;
  return new Failure("invalid_request", `Cannot answer the request: ${state}`);
}

const EXPECTED = "expected localhost, 127.0.0.1 or [::1]";

function isLoopbackOrigin(origin: string): boolean {
  const authority = /^https?:\/\/(.*)$/i.exec(origin)?.[1];
  return authority !== undefined && LOOPBACK.test(authority);
}

function foreign(header: string, found: string): Failure {
  const state = `its ${header} header names "${found}", ${EXPECTED}`;
  return new Failure("forbidden", `Cannot answer the request: ${state}`);
}
