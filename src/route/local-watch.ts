/** What routing learns of this machine from the requests it sends there. Loads nothing and asks no engine. */

import type { LocalState } from "../core/routing.ts";

/** The weight of the newest time to a first token against all before it. */
const NEWEST_SHARE = 0.3;

interface Seen {
  waiting: number;
  answered: boolean;
  ttft_ms: number | null;
}

export class LocalWatch {
  readonly #seen = new Map<string, Seen>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Runs the wait for a first event, and remembers how long it was. */
  async waiting<Value>(model: string, begin: () => Promise<Value>): Promise<Value> {
    const seen = this.#of(model);
    const since_ms = this.#now();
    seen.waiting += 1;
    try {
      const value = await begin();
      const ttft_ms = this.#now() - since_ms;
      seen.ttft_ms = seen.ttft_ms === null ? ttft_ms : seen.ttft_ms + NEWEST_SHARE * (ttft_ms - seen.ttft_ms);
      seen.answered = true;
      return value;
    } finally {
      seen.waiting -= 1;
    }
  }

  state(model: string): LocalState {
    const { waiting, answered, ttft_ms } = this.#of(model);
    return { resident: answered, queue_length: waiting, context_length: null, ttft_ms_predicted: ttft_ms };
  }

  #of(model: string): Seen {
    const known = this.#seen.get(model) ?? { waiting: 0, answered: false, ttft_ms: null };
    this.#seen.set(model, known);
    return known;
  }
}
