/** Answers that are given while nobody waits for them. Each runs to its end, whoever leaves, or until it is cancelled. */

interface Running {
  /** Settles when it has ended, however. */
  readonly done: Promise<void>;
  readonly cancel: () => void;
}

export class BackgroundAnswers {
  readonly #running = new Map<string, Running>();

  has(id: string): boolean {
    return this.#running.has(id);
  }

  /** `answer` throws nothing. */
  begin(id: string, answer: () => Promise<void>, cancel: () => void): void {
    const done = answer().finally(() => this.#running.delete(id));
    this.#running.set(id, { done, cancel });
  }

  /** It has ended then. */
  async cancel(id: string): Promise<void> {
    const running = this.#running.get(id);
    running?.cancel();
    await running?.done;
  }
}
