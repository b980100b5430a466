/**
 * Answers that are given whether or not anybody waits for them. Each runs to its end, whoever leaves, or until it is
 * cancelled; what it has told is kept until then, so that whoever comes back is told the rest. Knows no dialect.
 */

interface Running {
  /** Settles when it has ended, however. */
  readonly done: Promise<void>;
  readonly cancel: () => void;
  /** As far as it has come. */
  readonly body: () => object;
  readonly told: Told;
}

export class BackgroundAnswers {
  readonly #running = new Map<string, Running>();

  find(id: string): Pick<Running, "body" | "told"> | null {
    return this.#running.get(id) ?? null;
  }

  /** `done` throws nothing. */
  begin(id: string, { told, done, ...running }: Running): void {
    const ended = done.finally(() => {
      this.#running.delete(id);
      told.end();
    });
    this.#running.set(id, { ...running, told, done: ended });
  }

  /** It has ended then. */
  async cancel(id: string): Promise<void> {
    const running = this.#running.get(id);
    running?.cancel();
    await running?.done;
  }
}

/** The events of one answer, no more than its context has room for; the place of each is its number. */
export class Told {
  readonly #events: string[] = [];
  #more = Promise.withResolvers<void>();
  #has_ended = false;

  get events(): readonly string[] {
    return this.#events;
  }

  add(...events: readonly string[]): void {
    this.#events.push(...events);
    this.#wake();
  }

  end(): void {
    this.#has_ended = true;
    this.#wake();
  }

  /** What is behind event `after`, also what is yet to come; all of a moment in one piece. */
  async *follow(after: number): AsyncGenerator<string, void, undefined> {
    let next = after + 1;
    while (true) {
      const piece = this.#events.slice(next).join("");
      next = Math.max(next, this.#events.length);
      if (piece !== "") yield piece;
      else if (this.#has_ended) return;
      else await this.#more.promise;
    }
  }

  #wake(): void {
    this.#more.resolve();
    this.#more = Promise.withResolvers();
  }
}
