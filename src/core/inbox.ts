/** A queue between a producer that calls back and one consumer that iterates. */

type State = { kind: "open" } | { kind: "ended" } | { kind: "failed"; error: unknown };

export class Inbox<Item> {
  readonly #items: Item[] = [];
  #state: State = { kind: "open" };
  #wake: (() => void) | null = null;

  push(item: Item): void {
    this.#items.push(item);
    this.#wake?.();
  }

  /** The consumer sees what was pushed before, then the end. */
  end(): void {
    if (this.#state.kind === "open") this.#state = { kind: "ended" };
    this.#wake?.();
  }

  /** The consumer sees `error` at once; what it has not read yet is dropped. */
  fail(error: unknown): void {
    this.#items.length = 0;
    this.#state = { kind: "failed", error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    while (true) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else if (this.#state.kind === "failed") throw this.#state.error;
      else if (this.#state.kind === "ended") return;
      else await this.#next();
    }
  }

  async #next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
    this.#wake = null;
  }
}
