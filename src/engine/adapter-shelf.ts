/** The adapters of one model's rows: read when the first row asks for one, dropped when nobody has for long. Knows no tensors. */

import type { AdapterFiles } from "../core/adapter.ts";
import { assert } from "../core/assert.ts";
import type { Adapter } from "../models/adapter.ts";

interface Held {
  readonly adapter: Adapter;
  rows: number;
}

// So many wait for the next row that wants them, the last used longest.
const IDLE_MAX = 8;

export class AdapterShelf implements Disposable {
  readonly #load: (folder: string) => Adapter;
  /** Those that no row uses in the order in which they were given back. */
  readonly #held = new Map<string, Held>();
  readonly #by_row = new Map<number, string>();

  constructor(load: (folder: string) => Adapter) {
    this.#load = load;
  }

  /** Throws a `Failure` when it cannot be read or does not fit the model. */
  hold(row: number, { key, folder }: AdapterFiles): void {
    const held = this.#held.get(key) ?? { adapter: this.#load(folder), rows: 0 };
    this.#held.set(key, held);
    held.rows += 1;
    this.#by_row.set(row, key);
  }

  of(row: number): Adapter | null {
    const key = this.#by_row.get(row);
    return key === undefined ? null : (this.#held.get(key)?.adapter ?? null);
  }

  release(row: number): void {
    const key = this.#by_row.get(row);
    if (key === undefined) return;
    this.#by_row.delete(row);
    const held = this.#held.get(key);
    assert(held !== undefined, "a row's adapter is held");
    held.rows -= 1;
    this.#held.delete(key);
    this.#held.set(key, held);
    const idle = [...this.#held].filter(([, { rows }]) => rows === 0);
    for (const [oldest, { adapter }] of idle.slice(0, -IDLE_MAX)) {
      adapter[Symbol.dispose]();
      this.#held.delete(oldest);
    }
  }

  [Symbol.dispose](): void {
    for (const { adapter } of this.#held.values()) adapter[Symbol.dispose]();
  }
}
