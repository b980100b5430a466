/** One request in progress. It ends once: by itself, by an error, or when its client leaves; and is recorded then. */

import type { AuditStatus } from "../core/audit.ts";
import { type Flow, newTrace } from "../core/exchange.ts";
import { Failure } from "../core/failure.ts";
import { costOf } from "../core/prices.ts";
import { isBug } from "../wire/problem.ts";
import type { ServerParts } from "./parts.ts";

export interface ExchangeHead {
  readonly request_id: string;
  readonly dialect: string;
  readonly endpoint: string;
  /** The name of its caller's key; null: it has none. */
  readonly key: string | null;
  /** Aborted when the client has gone. */
  readonly client: AbortSignal;
}

/** Of the kinds of failure that are no errors of anybody's. */
const STATUSES: ReadonlyMap<string, AuditStatus> = new Map([
  ["timeout", "timeout"],
  ["upstream_timeout", "timeout"],
  ["cancelled", "cancelled"],
]);

export class Exchange {
  readonly request_id: string;
  readonly trace = newTrace();
  model_asked: string | null = null;
  readonly #parts: ServerParts;
  readonly #head: ExchangeHead;
  readonly #time_ms: number;
  readonly #started_ms: number;
  readonly #abort = new AbortController();
  readonly #leave = () => this.leave();
  #first_token_ms: number | null = null;
  #held: Flow<unknown> | null = null;
  #ended = false;

  constructor(parts: ServerParts, head: ExchangeHead) {
    this.request_id = head.request_id;
    this.#parts = parts;
    this.#head = head;
    this.#time_ms = parts.now();
    this.#started_ms = performance.now();
    if (head.client.aborted) this.leave();
    else head.client.addEventListener("abort", this.#leave, { once: true });
  }

  /** Aborted when nobody reads the answer any more. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get left(): boolean {
    return this.#abort.signal.aborted;
  }

  /** `<backend>:<model> (<why>)`, in the letters that a header may have. */
  get route(): string {
    const { backend, model_served, route_reason } = this.trace;
    return `${encodeURI(`${backend}:${model_served}`.toWellFormed())} (${route_reason})`;
  }

  /** What is to be freed should it not run to its end. */
  hold(flow: Flow<unknown>): void {
    this.#held = flow;
    if (this.left) this.#free();
  }

  tokenCame(): void {
    this.#first_token_ms ??= performance.now() - this.#started_ms;
  }

  /** The whole answer is with the client. */
  succeed(): void {
    const { error_type } = this.trace;
    this.#end(error_type === null ? "success" : "error", error_type);
  }

  fail(error: unknown): void {
    const kind = error instanceof Failure ? error.kind : isBug(error) ? "internal" : "invalid_request";
    this.#end(STATUSES.get(kind) ?? "error", this.trace.error_type ?? kind);
    this.#free();
  }

  /** From now on it does not end when its client leaves. */
  stay(): void {
    this.#head.client.removeEventListener("abort", this.#leave);
  }

  /** Nobody reads what comes next. */
  leave(): void {
    if (this.#ended) return;
    this.#end("cancelled", null);
    this.#abort.abort(new DOMException("The client has left", "AbortError"));
    this.#free();
  }

  /** What it throws on its way out has no reader any more. */
  #free(): void {
    this.#held?.return().then(undefined, () => undefined);
  }

  #end(status: AuditStatus, error_type: string | null): void {
    if (this.#ended) return;
    this.#ended = true;
    const { backend, model_served, route_reason, left_machine, price, steadied_lines, usage } = this.trace;
    this.#parts.audit.record({
      time_ms: this.#time_ms,
      request_id: this.request_id,
      key: this.#head.key,
      endpoint: this.#head.endpoint,
      dialect: this.#head.dialect,
      model_asked: this.model_asked,
      model_served,
      backend,
      route_reason,
      duration_ms: performance.now() - this.#started_ms,
      first_token_ms: this.#first_token_ms,
      status,
      prompt_tokens: usage?.prompt_tokens ?? null,
      completion_tokens: usage?.completion_tokens ?? null,
      cached_tokens: usage?.cached_tokens ?? null,
      error_type,
      left_machine,
      cost: price === null || usage === null ? null : costOf(price, usage),
      currency: price === null || usage === null ? null : price.currency,
      steadied_lines,
    });
  }
}
