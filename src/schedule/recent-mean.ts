/** The mean of the last few durations, by which waits are estimated. */

// Few enough that it follows what is asked now.
const COUNT_MAX = 16;

export class RecentMean {
  readonly #values_ms: number[] = [];

  note(value_ms: number): void {
    this.#values_ms.push(value_ms);
    if (this.#values_ms.length > COUNT_MAX) this.#values_ms.shift();
  }

  /** So many of them, one after another; null: nothing was noted yet. */
  times(count: number): number | null {
    if (this.#values_ms.length === 0) return null;
    const sum_ms = this.#values_ms.reduce((sum, value_ms) => sum + value_ms, 0);
    return Math.ceil((count * sum_ms) / this.#values_ms.length);
  }
}
