/** Every request that is being answered: ends one whose time is over, or that is cancelled. Knows no wire and no model. */

import type { Backend } from "../core/backend.ts";
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
  readonly request: GenerationRequest;
  readonly came_ms: number;
  readonly end: AbortController;
  has_begun: boolean;
}

export class RunningRequests implements Backend {
  readonly #backend: Backend;
  readonly #settings: TimeoutSettings;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();

  /** `settings` is read as each request comes; `now` tells milliseconds since the epoch. */
  constructor(backend: Backend, settings: TimeoutSettings, now: () => number) {
    this.#backend = backend;
    this.#settings = settings;
    this.#now = now;
  }

  list(): readonly RunningRequest[] {
    return [...this.#entries.values()].map(({ request, came_ms, has_begun }) => {
      const { request_id, model } = request;
      return { request_id, model, state: has_begun ? "answering" : "waiting", came_ms };
    });
  }

  /** Throws a `Failure` when there is no such request. */
  cancel(request_id: string): void {
    const entry = this.#entries.get(request_id);
    if (entry === undefined) {
      throw new Failure("not_found", `Cannot cancel ${request_id}: no such request is being answered`, "id");
    }
    entry.end.abort(new Failure("cancelled", `Cannot go on: request ${request_id} was cancelled`));
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    const timeout_s = this.#timeout(request);
    const end = new AbortController();
    const entry: Entry = { request, came_ms: this.#now(), end, has_begun: false };
    const over = new Failure("timeout", `Cannot go on: the request has taken ${timeout_s} s, the most one may take`);
    const timer = setTimeout(() => end.abort(over), timeout_s * 1000);
    this.#entries.set(request.request_id, entry);
    try {
      for await (const event of this.#backend.generate(request, AbortSignal.any([signal, end.signal]))) {
        entry.has_begun = true;
        yield event;
      }
    } finally {
      clearTimeout(timer);
      this.#entries.delete(request.request_id);
    }
  }

  #timeout({ prompt }: GenerationRequest): number {
    return prompt.kind === "messages" ? this.#settings.chat_timeout_s : this.#settings.completions_timeout_s;
  }
}
