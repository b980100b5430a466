/** What is told of a load while it goes on, also to those who ask late. */

import { Inbox } from "../core/inbox.ts";

export type LoadingEvent =
  | { readonly stage: "weights"; readonly bytes_done: number; readonly bytes_total: number }
  | { readonly stage: "tokenizer" | "warm_up" | "ready" }
  | { readonly stage: "error"; readonly message: string };

export class LoadingProgress {
  /** The last of each stage, in their order. */
  readonly #told: LoadingEvent[] = [];
  readonly #listeners = new Set<Inbox<LoadingEvent>>();

  /** How far it is. */
  get reached(): { readonly stage: string; readonly bytes_done: number; readonly bytes_total: number } {
    const last = this.#told.at(-1);
    const weights = this.#told.find((event) => event.stage === "weights");
    return {
      stage: last?.stage ?? "begin",
      bytes_done: weights?.bytes_done ?? 0,
      bytes_total: weights?.bytes_total ?? 0,
    };
  }

  tell(event: LoadingEvent): void {
    if (this.#told.at(-1)?.stage === event.stage) this.#told.pop();
    this.#told.push(event);
    for (const listener of this.#listeners) {
      listener.push(event);
      if (isLast(event)) listener.end();
    }
  }

  /** All that was told, and what comes until the load has ended. */
  async *follow(signal: AbortSignal): AsyncGenerator<LoadingEvent, void, undefined> {
    const inbox = new Inbox<LoadingEvent>();
    for (const event of this.#told) inbox.push(event);
    if (this.#told.some(isLast)) inbox.end();
    const leave = () => inbox.end();
    signal.addEventListener("abort", leave, { once: true });
    this.#listeners.add(inbox);
    try {
      yield* inbox;
    } finally {
      this.#listeners.delete(inbox);
      signal.removeEventListener("abort", leave);
    }
  }
}

function isLast({ stage }: LoadingEvent): boolean {
  return stage === "ready" || stage === "error";
}
