/** Who goes to the engine next: of the requests that wait for a model the most urgent. Knows no engine and no tokens. */

import { Failure } from "../core/failure.ts";
import { type Priority, rankMs } from "../core/priority.ts";
import type { Wait } from "../core/waiting.ts";
import { RecentMean } from "./recent-mean.ts";

export interface QueueSettings {
  /** Requests of one model that run at once: as many as step together. */
  readonly rows_max: number;
  /** Requests that wait, of all models together. */
  readonly queue_max: number;
}

export interface Entrant {
  readonly request_id: string;
  readonly model: string;
  readonly priority: Priority;
}

/** Disposed when the request has ended. */
export interface Place extends Disposable {
  readonly waited_ms: number;
}

interface Waiter {
  readonly request_id: string;
  readonly rank_ms: number;
  readonly start: () => void;
}

interface Lane {
  running: number;
  /** The most urgent first. */
  readonly waiting: Waiter[];
}

// The pace of the last few ends, so that it follows what is asked now.
const ENDS_MAX = 16;
// OpenAI's clients go by their own count beyond a minute.
const RETRY_S_MAX = 60;

export class RequestQueue {
  readonly #settings: QueueSettings;
  readonly #now: () => number;
  readonly #lanes = new Map<string, Lane>();
  readonly #ended_ms: number[] = [];
  readonly #ran_ms = new RecentMean();

  /** `now` tells milliseconds. */
  constructor(settings: QueueSettings, now: () => number) {
    this.#settings = settings;
    this.#now = now;
  }

  get waiting(): number {
    return [...this.#lanes.values()].reduce((sum, lane) => sum + lane.waiting.length, 0);
  }

  waitingFor(model: string): number {
    return this.#lanes.get(model)?.waiting.length ?? 0;
  }

  /** The best place of those that the request waits for; null: it waits for none. */
  waitOf(request_id: string): Wait | null {
    for (const { waiting } of this.#lanes.values()) {
      const position = 1 + waiting.findIndex((waiter) => waiter.request_id === request_id);
      // So many end in the time of one answer.
      const answers = position / this.#settings.rows_max;
      if (position > 0) return { kind: "row", position, estimated_ms: this.#ran_ms.times(answers) };
    }
    return null;
  }

  /** Waits for a place among the model's running requests. Throws a `Failure` when too many wait, or the signal's reason. */
  async enter({ request_id, model, priority }: Entrant, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    const lane = this.#lane(model);
    const came_ms = this.#now();
    if (lane.running < this.#settings.rows_max) lane.running += 1;
    else await this.#wait(lane, { request_id, rank_ms: rankMs({ priority, waited_ms: 0 }, came_ms) }, signal);
    const began_ms = this.#now();
    const waited_ms = began_ms - came_ms;
    let has_ended = false;
    const end = () => {
      if (!has_ended) this.#end(model, lane, began_ms);
      has_ended = true;
    };
    return { waited_ms, [Symbol.dispose]: end };
  }

  #wait(lane: Lane, who: Omit<Waiter, "start">, signal: AbortSignal): Promise<void> {
    const { waiting } = this;
    if (waiting >= this.#settings.queue_max) {
      const state = `${waiting} wait already, at most ${this.#settings.queue_max} may`;
      throw new Failure("overloaded", `Cannot take the request: ${state}`, null, this.#retryAfter(waiting));
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        lane.waiting.splice(lane.waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const start = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const waiter = { ...who, start };
      signal.addEventListener("abort", onAbort, { once: true });
      const behind = lane.waiting.findIndex((other) => who.rank_ms < other.rank_ms);
      lane.waiting.splice(behind < 0 ? lane.waiting.length : behind, 0, waiter);
    });
  }

  /** Its place goes to the next, who never sees it free: nobody can come between. */
  #end(model: string, lane: Lane, began_ms: number): void {
    this.#ran_ms.note(this.#now() - began_ms);
    this.#ended_ms.push(this.#now());
    if (this.#ended_ms.length > ENDS_MAX) this.#ended_ms.shift();
    const next = lane.waiting.shift();
    if (next === undefined) lane.running -= 1;
    else next.start();
    if (lane.running === 0) this.#lanes.delete(model);
  }

  /** When half of those who wait will have started, at the present pace. */
  #retryAfter(waiting: number): number {
    const [first_ms = this.#now()] = this.#ended_ms;
    const pace_ms = (this.#now() - first_ms) / Math.max(1, this.#ended_ms.length);
    return Math.min(RETRY_S_MAX, Math.max(1, Math.ceil((pace_ms * waiting) / 2 / 1000)));
  }

  #lane(model: string): Lane {
    const known = this.#lanes.get(model);
    if (known !== undefined) return known;
    const lane = { running: 0, waiting: [] };
    this.#lanes.set(model, lane);
    return lane;
  }
}
