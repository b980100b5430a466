/** Puts a server on a socket. */

import { Failure } from "../core/failure.ts";
import { BODY_BYTES_MAX } from "./body.ts";
import { unnamed } from "./loopback.ts";
import type { Server } from "./server.ts";
import { asksForSocket, type Carried, SOCKETS } from "./sockets.ts";

export interface Listening {
  readonly url: string;
  readonly port: number;
  /** Cuts what is still being answered. */
  stop(): Promise<void>;
}

export interface Address {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

export function listen(app: Server, { host, port }: Address): Listening {
  const server = serve(app, host, port);
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${server.port}`,
    port: server.port ?? port,
    stop: async () => await server.stop(true),
  };
}

/** An open connection that asks for nothing. */
const IDLE_S_MAX = 60;
/** `body.ts` refuses with a sentence, without keeping more than its limit; this net would only cut the connection. */
const BODY_BYTES_NET = 1024 * BODY_BYTES_MAX;

function serve(app: Server, host: string, port: number) {
  try {
    return Bun.serve({
      hostname: host,
      port,
      development: false, // else an error that escapes Elysia is shown to the caller with its stack
      reusePort: false, // outside development Bun's default is to share a busy port with whoever has it
      idleTimeout: IDLE_S_MAX,
      maxRequestBodySize: BODY_BYTES_NET,
      fetch(request, server) {
        // A generation may be silent for minutes, while a model loads or a long prompt is read.
        if (request.method === "POST") server.timeout(request, 0);
        // Bun makes the URL of the Host header as it comes: missing in HTTP/1.0, or no host at all.
        if (!URL.canParse(request.url)) return app.explain(unnamed(request), request);
        return asksForSocket(request) ? opened(app, request, server) : app.handle(request);
      },
      websocket: SOCKETS,
      error: (error) => app.explain(error, null),
    });
  } catch (error) {
    throw new Failure("unavailable", `Cannot listen on ${host}:${port}: ${reason(error)}`);
  }
}

/** The answer to a request for a socket; undefined where the socket is the answer. */
async function opened(app: Server, request: Request, server: Bun.Server<Carried>): Promise<Response | undefined> {
  const answer = await app.handle(request);
  const feed = app.feeds.get(request);
  if (feed === undefined) return answer;
  const data = { feed, stop: () => undefined };
  if (server.upgrade(request, { data, headers: answer.headers })) return undefined;
  const state = "its headers are not those of a web socket's beginning";
  return app.explain(new Failure("invalid_request", `Cannot open a web socket: ${state}`), request);
}

function reason(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : null;
  switch (code) {
    case "EADDRINUSE":
      return "another program already uses this port";
    case "EACCES":
      return "this user may not open this port";
    case "EADDRNOTAVAIL":
      return "this machine has no such address";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
