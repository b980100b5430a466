/** Decides whether a row may start, and makes its model resident first. Knows tokens, not text. */

import type { LoadedModel } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { EngineClient, RowRequest } from "../worker/client.ts";
import type { RowProgress } from "../worker/messages.ts";
import type { CatalogModel } from "./catalog.ts";

// Rows that wait or run. Each gets its share of the engine, so beyond this all are too slow to be of use.
const ROWS_MAX = 64;

export class Scheduler {
  readonly #engine: EngineClient;
  #rows = 0;

  constructor(engine: EngineClient) {
    this.#engine = engine;
  }

  resident(model: CatalogModel): Promise<LoadedModel> {
    return this.#engine.load(model.name, model.path);
  }

  explain(model: CatalogModel, prompt_ids: readonly number[]): Promise<PrefixMatch> {
    return this.#engine.explain(model.name, prompt_ids);
  }

  async *generate(row: RowRequest, signal: AbortSignal): AsyncGenerator<RowProgress, void, undefined> {
    if (this.#rows >= ROWS_MAX) {
      throw new Failure(
        "overloaded",
        `Cannot take the request: ${this.#rows} are being answered, at most ${ROWS_MAX} may be`,
      );
    }
    this.#rows += 1;
    try {
      yield* this.#engine.generate(row, signal);
    } finally {
      this.#rows -= 1;
    }
  }
}
