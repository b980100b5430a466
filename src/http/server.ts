/** The HTTP server: what holds for every request, and the routes. Builds nothing it serves from and listens nowhere. */

import { Elysia, NotFoundError, ParseError, ValidationError } from "elysia";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { anthropicProblem } from "../wire/anthropic-problem.ts";
import { ollamaProblem } from "../wire/ollama-problem.ts";
import { isBug, problem, Refusal } from "../wire/problem.ts";
import { violation } from "../wire/violation.ts";
import { adminRoutes } from "./admin.ts";
import { speaksAnthropic } from "./anthropic-door.ts";
import { apiKeyRoutes } from "./api-keys.ts";
import { auditRoutes } from "./audit.ts";
import { chatRoutes } from "./chat.ts";
import { completionRoutes } from "./completions.ts";
import { docsRoutes } from "./docs.ts";
import { embeddingRoutes } from "./embeddings.ts";
import { Gate, pathOf } from "./gate.ts";
import { healthRoutes } from "./health.ts";
import { huggingfaceRoutes } from "./huggingface.ts";
import { messageRoutes } from "./messages.ts";
import { modelRoutes } from "./models.ts";
import { ollamaAnswerRoutes } from "./ollama-answers.ts";
import { OLLAMA_PATH } from "./ollama-door.ts";
import { ollamaModelRoutes } from "./ollama-models.ts";
import type { ServerParts } from "./parts.ts";
import { audited } from "./plain-audit.ts";
import { prefixRoutes } from "./prefix.ts";
import { priceRoutes } from "./prices.ts";
import { profileRoutes } from "./profiles.ts";
import { providerRoutes } from "./providers.ts";
import { RequestIds } from "./request-id.ts";
import { rerankRoutes } from "./rerank.ts";
import { responseRoutes } from "./responses.ts";
import { ruleRoutes } from "./rules.ts";
import { settingRoutes } from "./settings.ts";
import type { Feed, GrantedFeeds } from "./sockets.ts";
import { tokenRoutes } from "./tokens.ts";

export interface Server {
  handle(request: Request): Promise<Response>;
  /** What a caller is told of an error; null: not even the request is known. */
  explain(error: unknown, request: Request | null): Response;
  readonly routes: Routes;
  readonly feeds: GrantedFeeds;
}

type Routes = readonly { readonly method: string; readonly path: string }[];

export function createServer(given: ServerParts): Server {
  const parts = {
    ...given,
    ids: new RequestIds(given.requestId),
    gate: new Gate(given),
    feeds: new WeakMap<Request, Feed>(),
  };
  const explain = (error: unknown, request: Request | null) => {
    const request_id = request === null ? parts.requestId() : parts.ids.of(request);
    if (isBug(error)) parts.reportBug(error, request_id);
    const path = request === null ? "/" : pathOf(request);
    const tell = problemFor(request, path);
    const { status, headers, body } = tell(error, request_id, path);
    return new Response(JSON.stringify(body), { status, headers: { ...headers, "x-request-id": request_id } });
  };
  // Else a host of less than four letters counts as path, and the gate has seen another one than is answered.
  const app = new Elysia({ normalize: false, handler: { standardHostname: false } });
  app
    .onError(async ({ error, request }) => {
      if (request.signal.aborted) return new Response(null, { status: CLIENT_LEFT });
      return explain(causeOf(error, request, app.routes), request);
    })
    .use(chatRoutes(parts))
    .use(completionRoutes(parts))
    .use(responseRoutes(parts))
    .use(messageRoutes(parts))
    .use(embeddingRoutes(parts))
    .use(rerankRoutes(parts))
    .use(modelRoutes(parts))
    .use(ollamaAnswerRoutes(parts))
    .use(ollamaModelRoutes(parts))
    .use(prefixRoutes(parts))
    .use(tokenRoutes(parts))
    .use(providerRoutes(parts))
    .use(ruleRoutes(parts))
    .use(priceRoutes(parts))
    .use(auditRoutes(parts))
    .use(adminRoutes(parts))
    .use(settingRoutes(parts))
    .use(profileRoutes(parts))
    .use(huggingfaceRoutes(parts))
    .use(apiKeyRoutes(parts))
    .use(healthRoutes(parts))
    .use(docsRoutes(parts.version));
  const admitted = async (request: Request) => {
    try {
      parts.gate.admit(request);
      refuseQuery(request);
    } catch (error) {
      return explain(error, request);
    }
    return await app.handle(request);
  };
  // Around Elysia and not within: a hook of its own, and headers that it merges, cost a fifth of a routed request.
  const answer = async (request: Request) => {
    const response = await admitted(request);
    const request_id = parts.ids.of(request);
    response.headers.set("x-request-id", request_id);
    const failed_route = parts.ids.failedRouteOf(request);
    if (failed_route !== null) response.headers.set("x-bunsen-route", failed_route);
    if (speaksAnthropic(request)) response.headers.set("request-id", request_id);
    return response;
  };
  const routeOf = (request: Request) => app.routes.find(({ path }) => fits(path, pathOf(request)))?.path ?? null;
  return {
    handle: async (request) => await audited(parts, request, answer, routeOf),
    explain,
    routes: app.routes,
    feeds: parts.feeds,
  };
}

/** In the form of the dialect that the caller reads. */
function problemFor(request: Request | null, path: string): typeof problem {
  if (OLLAMA_PATH.test(path)) return ollamaProblem;
  return request !== null && speaksAnthropic(request) ? anthropicProblem : problem;
}

/** Nobody reads it; nginx writes the same number in its logs. */
const CLIENT_LEFT = 499;

/** A parameter that is not honoured is refused; routes that take some refuse the others themselves. */
function refuseQuery(request: Request): void {
  if (!request.url.includes("?")) return;
  const { searchParams, pathname } = new URL(request.url);
  // Anthropic's clients mark so what they call a beta; what it asks for stands in the body, and is refused there by name.
  if (speaksAnthropic(request) && searchParams.get("beta") === "true") searchParams.delete("beta");
  const [name] = searchParams.keys();
  if (name === undefined || QUERIED.test(`${request.method} ${pathname}`)) return;
  if (pathname === "/v1/models" && speaksAnthropic(request)) return;
  throw new Failure("invalid_request", `Cannot use query parameter "${name}": this route takes none`, name);
}

/** Routes that read their query themselves. */
const QUERIED = /^\w+ (?:\/v1)?\/admin\/audit-logs|^GET \/v1\/responses\/[^/]+(?:\/input_items)?$/;

/** Elysia's own errors as ours. */
function causeOf(error: unknown, request: Request, routes: Routes): unknown {
  if (error instanceof ParseError) return error.cause;
  if (error instanceof ValidationError) {
    assert("Errors" in error.validator, "every schema is one of typebox");
    return violation(error.validator.Errors(error.value));
  }
  if (!(error instanceof NotFoundError)) return diskTrouble(error) ?? error;
  const path = new URL(request.url).pathname;
  const allowed = routes.filter((route) => fits(route.path, path)).map((route) => route.method);
  const act = `Cannot answer ${request.method} ${path}`;
  if (allowed.length === 0) return new Failure("not_found", `${act}: there is no such route`);
  return new Refusal("method_not_allowed", `${act}: this route takes ${allowed.join(", ")}`, allowed);
}

/** What the owner set or asked cannot be kept: the world's trouble, of which SQLite tells by these codes. */
function diskTrouble(error: unknown): Failure | null {
  if (!(error instanceof Error) || !("code" in error)) return null;
  if (!/^SQLITE_(FULL|IOERR|READONLY|CANTOPEN|BUSY)/.test(String(error.code))) return null;
  return new Failure("unavailable", `Cannot write to the database: ${error.message}`);
}

/** Patterns are Elysia's: `:name` is one segment, `*` the rest. */
function fits(pattern: string, path: string): boolean {
  const expression = pattern.replaceAll(".", "\\.").replace(/:\w+/, "[^/]+").replace("*", ".+/.+");
  return new RegExp(`^${expression}/?$`).test(path);
}
