/**
 * Runs the rows: plan, forward, sample, commit. It knows token ids and models;
 * it knows nothing of text, of requests, or of the thread it runs in.
 */

import { assert } from "../core/assert.ts";
import { type FailureRecord, toRecord } from "../core/failure.ts";
import type { FinishReason, Sampling } from "../core/generation.ts";
import { fromTokens } from "../mlx/array.ts";
import type { Model } from "../models/family.ts";
import { Batcher, type Part } from "./batcher.ts";
import { KvCache } from "./kv-cache.ts";
import { sample } from "./sampler.ts";

export interface NewRow {
  readonly id: number;
  readonly prompt_ids: readonly number[];
  readonly sampling: Sampling;
  readonly tokens_max: number;
  readonly stop_token_ids: readonly number[];
}

export type RowOutcome =
  | {
      readonly kind: "progress";
      readonly id: number;
      readonly token_ids: readonly number[];
      readonly finish: FinishReason | null;
    }
  | { readonly kind: "failed"; readonly id: number; readonly failure: FailureRecord };

interface ActiveRow {
  readonly model: Model;
  readonly sampling: Sampling;
  readonly cache: KvCache;
}

export class Engine {
  readonly #batcher: Batcher;
  readonly #rows = new Map<number, ActiveRow>();

  constructor(prefill_chunk: number) {
    this.#batcher = new Batcher(prefill_chunk);
  }

  get rows(): number {
    return this.#rows.size;
  }

  add(row: NewRow, model: Model): void {
    const limits = { tokens_max: row.tokens_max, stop_token_ids: new Set(row.stop_token_ids) };
    this.#batcher.join(row.id, row.prompt_ids, limits);
    this.#rows.set(row.id, { model, sampling: row.sampling, cache: new KvCache(model.cache_shape) });
  }

  /** Frees the row; one that has ended already is no matter. */
  remove(id: number): void {
    this.#batcher.leave(id);
    this.#rows.get(id)?.cache[Symbol.dispose]();
    this.#rows.delete(id);
  }

  /** One token for every decoding row and one chunk of one prompt. A row that fails ends alone. */
  step(): RowOutcome[] {
    return this.#batcher.next().map((part) => this.#run(part));
  }

  #run(part: Part): RowOutcome {
    const { id } = part;
    try {
      const token_id = this.#forward(part);
      const { token_ids, finish } = this.#batcher.commit(part, token_id);
      if (finish !== null) this.remove(id);
      return { kind: "progress", id, token_ids, finish };
    } catch (error) {
      this.remove(id);
      return { kind: "failed", id, failure: toRecord(error, "engine") };
    }
  }

  #forward(part: Part): number | null {
    const row = this.#rows.get(part.id);
    assert(row !== undefined, "a planned row is active");
    using tokens = fromTokens(part.token_ids);
    using logits = row.model.forward(tokens, row.cache);
    row.cache.advance(part.token_ids.length);
    if (part.draws) return sample(logits, row.sampling, this.#batcher.drawn(part.id));
    row.cache.evaluate();
    return null;
  }
}
