/** Every request that is being answered: ends one whose time is over, or that is cancelled. Knows no wire and no model. */

import type { Backend } from "../core/backend.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import type { GenerationEvent, GenerationRequest } from "../core/generation.ts";
import type { TimeoutSettings } from "../core/settings.ts";

export interface RunningRequest {
  readonly request_id: string;
  readonly model: string;
  readonly state: "waiting" | "answering";
  /** Milliseconds since the epoch. */
  readonly came_ms: number;
}

interface Entry {
  readonly request_id: string;
  readonly model: string;
  readonly came_ms: number;
  readonly end: AbortController;
  has_begun: boolean;
}

interface Entered extends Disposable {
  readonly entry: Entry;
  readonly signal: AbortSignal;
}

export class RunningRequests implements Backend {
  readonly #backend: Backend;
  readonly #settings: TimeoutSettings;
  readonly #now: () => number;
  readonly #entries = new Set<Entry>();

  /** `settings` is read as each request comes; `now` tells milliseconds since the epoch. */
  constructor(backend: Backend, settings: TimeoutSettings, now: () => number) {
    this.#backend = backend;
    this.#settings = settings;
    this.#now = now;
  }

  list(): readonly RunningRequest[] {
    return [...this.#entries].map(({ request_id, model, came_ms, has_begun }) => {
      return { request_id, model, state: has_begun ? "answering" : "waiting", came_ms };
    });
  }

  /** Throws a `Failure` when there is no such request. */
  cancel(request_id: string): void {
    const entry = [...this.#entries].find((entry) => entry.request_id === request_id);
    if (entry === undefined) {
      throw new Failure("not_found", `Cannot cancel ${request_id}: no such request is being answered`, "id");
    }
    entry.end.abort(new Failure("cancelled", `Cannot go on: request ${request_id} was cancelled`));
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    const { chat_timeout_s, completions_timeout_s } = this.#settings;
    using entered = this.#enter(request, "messages" in request.prompt ? chat_timeout_s : completions_timeout_s, signal);
    for await (const event of this.#backend.generate(request, entered.signal)) {
      entered.entry.has_begun = true;
      yield event;
    }
  }

  async embed(request: EmbedRequest, signal: AbortSignal): Promise<Embeddings> {
    using entered = this.#enter(request, this.#settings.embeddings_timeout_s, signal);
    return await this.#backend.embed(request, entered.signal);
  }

  async rerank(request: RerankRequest, signal: AbortSignal): Promise<Scores> {
    using entered = this.#enter(request, this.#settings.embeddings_timeout_s, signal);
    return await this.#backend.rerank(request, entered.signal);
  }

  async count(request: GenerationRequest, signal: AbortSignal): Promise<number> {
    using entered = this.#enter(request, this.#settings.chat_timeout_s, signal);
    return await this.#backend.count(request, entered.signal);
  }

  #enter(request: { request_id: string; model: string }, timeout_s: number, signal: AbortSignal): Entered {
    const { request_id, model } = request;
    const end = new AbortController();
    const entry: Entry = { request_id, model, came_ms: this.#now(), end, has_begun: false };
    const over = new Failure("timeout", `Cannot go on: the request has taken ${timeout_s} s, the most one may take`);
    const timer = setTimeout(() => end.abort(over), timeout_s * 1000);
    this.#entries.add(entry);
    const leave = () => {
      clearTimeout(timer);
      this.#entries.delete(entry);
    };
    return { entry, signal: AbortSignal.any([signal, end.signal]), [Symbol.dispose]: leave };
  }
}
