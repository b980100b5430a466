/** The loads that wait for room, in the order in which they came. Knows how long each has waited, and no memory. */

import type { ModelEstimate } from "../core/backend.ts";

export interface RoomWaiter {
  readonly model: string;
  readonly estimate: ModelEstimate;
  readonly since_ms: number;
}

/**
 * A load that fits passes larger ones that do not, so that they hold up nobody while they could not start anyhow.
 * After so long the first is not passed any more: whoever has waited for half a minute is next.
 */
const PASSED_MS_MAX = 30_000;

export class RoomLine {
  readonly #waiting: RoomWaiter[] = [];
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** The first is at 1; null: it does not wait. */
  position(model: string): number | null {
    const index = this.#waiting.findIndex((waiter) => waiter.model === model);
    return index < 0 ? null : index + 1;
  }

  /** Who is not passed any more. */
  get overdue(): RoomWaiter | null {
    const [first = null] = this.#waiting;
    return first !== null && this.#now() - first.since_ms >= PASSED_MS_MAX ? first : null;
  }

  enter(model: string, estimate: ModelEstimate): RoomWaiter {
    const waiter = { model, estimate, since_ms: this.#now() };
    this.#waiting.push(waiter);
    return waiter;
  }

  leave(waiter: RoomWaiter): void {
    this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
  }

  mayGo(waiter: RoomWaiter): boolean {
    const { overdue } = this;
    return overdue === null || overdue === waiter;
  }
}
