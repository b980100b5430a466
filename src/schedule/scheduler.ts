/** Decides when a row may start, and makes its model resident first. Knows tokens, not text. */

import type { LoadedModel } from "../core/backend.ts";
import type { EncoderText } from "../core/encoding.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { Priority } from "../core/priority.ts";
import type { EngineClient, RowRequest } from "../worker/client.ts";
import type { PromptOfModel, RowProgress } from "../worker/messages.ts";
import type { CatalogModel } from "./catalog.ts";
import type { RequestQueue } from "./queue.ts";

/** A row that has not waited yet. */
export interface AskedRow extends Omit<RowRequest, "urgency"> {
  readonly priority: Priority;
}

export interface AskedTexts {
  readonly model: string;
  readonly texts: readonly EncoderText[];
  readonly priority: Priority;
}

export class Scheduler {
  readonly #engine: EngineClient;
  readonly #queue: RequestQueue;

  constructor(engine: EngineClient, queue: RequestQueue) {
    this.#engine = engine;
    this.#queue = queue;
  }

  resident(model: CatalogModel): Promise<LoadedModel> {
    return this.#engine.load(model.name, model.path);
  }

  explain(prompt: PromptOfModel): Promise<PrefixMatch> {
    return this.#engine.explain(prompt);
  }

  async *generate(asked: AskedRow, signal: AbortSignal): AsyncGenerator<RowProgress, void, undefined> {
    const { priority, ...row } = asked;
    using place = await this.#queue.enter(row.model, priority, signal);
    yield* this.#engine.generate({ ...row, urgency: { priority, waited_ms: place.waited_ms } }, signal);
  }

  /** The numbers of each text: its vector or its score. */
  async read(texts: AskedTexts, signal: AbortSignal): Promise<readonly Float32Array[]> {
    using _ = await this.#queue.enter(texts.model, texts.priority, signal);
    return await this.#engine.read(texts.model, texts.texts, signal);
  }
}
