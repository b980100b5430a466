/**
 * The adapters of one model's rows: read when the first row asks for one, dropped when nobody has for long. Knows no
 * tensors.
 */

import type { AdapterFiles, AdapterMemory } from "../core/adapter.ts";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { Adapter } from "../models/adapter.ts";

interface Held {
  readonly adapter: Adapter;
  rows: number;
}

export interface AdapterLoader {
  /** What it will take at most, from the headers of its files. */
  measure(folder: string): number;
  load(folder: string): Adapter;
}

// So many wait for the next row that wants them, the last used longest.
const IDLE_MAX = 8;

// About as long as an answer takes that uses another one.
const RETRY_S = 5;

export class AdapterShelf implements Disposable {
  readonly #loader: AdapterLoader;
  /** Those that no row uses in the order in which they were given back. */
  readonly #held = new Map<string, Held>();
  readonly #by_row = new Map<number, string>();

  constructor(loader: AdapterLoader) {
    this.#loader = loader;
  }

  get memory(): AdapterMemory {
    return { bytes: this.#bytesOf(this.#held.keys()), idle_bytes: this.#bytesOf(this.#idle()) };
  }

  /** Throws a `Failure` when it cannot be read, does not fit the model, or not beside the others in `bytes_max`. */
  hold(row: number, files: AdapterFiles, bytes_max: number): void {
    const { key, folder } = files;
    if (!this.#held.has(key)) this.#makeRoom(files, bytes_max);
    const held = this.#held.get(key) ?? { adapter: this.#loader.load(folder), rows: 0 };
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
    for (const key of this.#idle().slice(0, -IDLE_MAX)) this.#drop(key);
  }

  /** Drops those that no row uses. */
  trim(): void {
    for (const key of this.#idle()) this.#drop(key);
  }

  /** Those that nobody uses go first. */
  #makeRoom({ name, folder }: AdapterFiles, bytes_max: number): void {
    const needed = this.#loader.measure(folder);
    for (const key of this.#idle()) {
      if (this.memory.bytes + needed <= bytes_max) return;
      this.#drop(key);
    }
    const free = Math.max(0, bytes_max - this.memory.bytes);
    if (needed <= free) return;
    const state = `it needs ${needed} bytes, ${free} are free`;
    throw new Failure("no_memory", `Cannot load the adapter "${name}": ${state}`, "adapter", RETRY_S);
  }

  /** The last used last. */
  #idle(): string[] {
    return [...this.#held].filter(([, { rows }]) => rows === 0).map(([key]) => key);
  }

  #bytesOf(keys: Iterable<string>): number {
    return [...keys].reduce((bytes, key) => bytes + (this.#held.get(key)?.adapter.bytes_resident ?? 0), 0);
  }

  #drop(key: string): void {
    this.#held.get(key)?.adapter[Symbol.dispose]();
    this.#held.delete(key);
  }

  [Symbol.dispose](): void {
    for (const { adapter } of this.#held.values()) adapter[Symbol.dispose]();
  }
}
