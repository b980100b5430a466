/** How long this machine's models take to a first token, as the requests that were sent there tell. */

/** The weight of the newest time to a first token against all before it. */
const NEWEST_SHARE = 0.3;

export class LocalWatch {
  readonly #ttft_ms = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Runs the wait for a first event, and remembers how long it was. */
  async waiting<Value>(model: string, begin: () => Promise<Value>): Promise<Value> {
    const since_ms = this.#now();
    const value = await begin();
    const ttft_ms = this.#now() - since_ms;
    const before_ms = this.#ttft_ms.get(model) ?? ttft_ms;
    this.#ttft_ms.set(model, before_ms + NEWEST_SHARE * (ttft_ms - before_ms));
    return value;
  }

  /** null until the model has answered. */
  predicted(model: string): number | null {
    return this.#ttft_ms.get(model) ?? null;
  }
}
