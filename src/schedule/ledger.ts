/** Who may take how much memory. Counts bytes; knows no model, no engine and no machine. */

import type { AdapterMemory } from "../core/adapter.ts";
import { assert } from "../core/assert.ts";

/** What a model takes, or is going to. */
export interface Account {
  readonly weights_bytes: number;
  /** Keys and values: of its running requests, and in what they leave, of its prefix cache. */
  readonly kv_bytes: number;
  /** Of its largest step. */
  readonly step_bytes: number;
}

export interface Entry extends Account {
  readonly model: string;
  /** Of those that are loaded for its requests, or wait for the next that want them. */
  readonly adapters_bytes: number;
  /** Of them those that no request uses, which go when another needs their room. */
  readonly adapters_bytes_idle: number;
  readonly weights_bytes_estimated: number;
  /** Whether the weights were measured; until then they are reserved as estimated. */
  readonly is_measured: boolean;
}

export class Ledger {
  readonly #limit: () => number;
  readonly #entries = new Map<string, Entry>();

  /** `limit` tells the bytes that may be taken now. */
  constructor(limit: () => number) {
    this.#limit = limit;
  }

  get limit_bytes(): number {
    return this.#limit();
  }

  get taken_bytes(): number {
    return takenBytes([...this.#entries.values()]);
  }

  /** Negative when the limit was lowered below what is taken. */
  get free_bytes(): number {
    return this.limit_bytes - this.taken_bytes;
  }

  entries(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  /** As they would be without the adapters that no request uses. */
  trimmed(): readonly Entry[] {
    return this.entries().map((entry) => {
      return { ...entry, adapters_bytes: entry.adapters_bytes - entry.adapters_bytes_idle, adapters_bytes_idle: 0 };
    });
  }

  /** Takes it if it fits, and tells how many bytes are missing: 0 when it was taken. */
  reserve(model: string, account: Account): number {
    assert(!this.#entries.has(model), "a model is reserved once");
    const estimated = { weights_bytes_estimated: account.weights_bytes, is_measured: false };
    const entry = { ...account, model, ...estimated, adapters_bytes: 0, adapters_bytes_idle: 0 };
    const missing = Math.max(0, takenBytes([...this.#entries.values(), entry]) - this.limit_bytes);
    if (missing === 0) this.#entries.set(model, entry);
    return missing;
  }

  /** What the weights have turned out to take: they are there, whether or not they fit. */
  measure(model: string, weights_bytes: number): void {
    const entry = this.#entries.get(model);
    assert(entry !== undefined, "a measured model was reserved");
    this.#entries.set(model, { ...entry, weights_bytes, is_measured: true });
  }

  /** What the adapters of a model take by now. One that has gone took them along. */
  adapt(model: string, { bytes: adapters_bytes, idle_bytes: adapters_bytes_idle }: AdapterMemory): void {
    const entry = this.#entries.get(model);
    if (entry !== undefined) this.#entries.set(model, { ...entry, adapters_bytes, adapters_bytes_idle });
  }

  /** From now on none of its adapters is idle; for one that could not tell so itself. */
  trim(model: string): void {
    const entry = this.trimmed().find((each) => each.model === model);
    if (entry !== undefined) this.#entries.set(model, entry);
  }

  /** What the adapters of a model may take, those that are there among them. */
  adapterRoom(model: string): number {
    const taken = this.#entries.get(model)?.adapters_bytes ?? 0;
    return Math.max(0, taken + this.free_bytes);
  }

  /** One that was never reserved is no matter. */
  release(model: string): void {
    this.#entries.delete(model);
  }
}

/** Steps of several models follow each other, so that only the largest counts. */
export function takenBytes(entries: readonly (Account | Entry)[]): number {
  const kept = entries.reduce((sum, entry) => {
    return sum + entry.weights_bytes + entry.kv_bytes + ("adapters_bytes" in entry ? entry.adapters_bytes : 0);
  }, 0);
  return kept + Math.max(0, ...entries.map(({ step_bytes }) => step_bytes));
}
