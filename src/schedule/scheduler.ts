/** Decides when a row may start, and makes its model resident first. Knows tokens, not text. */

import type { EncoderText } from "../core/encoding.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { Priority } from "../core/priority.ts";
import type { Outlook } from "../core/routing.ts";
import type { EngineClient, RowRequest } from "../worker/client.ts";
import type { PromptOfModel, RowProgress } from "../worker/messages.ts";
import type { CatalogModel } from "./catalog.ts";
import type { ModelPool } from "./pool.ts";
import type { RequestQueue } from "./queue.ts";
import type { Lease } from "./slot.ts";

/** A row that has not waited yet. */
export interface AskedRow extends Omit<RowRequest, "urgency" | "adapter_bytes_max"> {
  readonly request_id: string;
  readonly priority: Priority;
}

export interface AskedTexts {
  readonly request_id: string;
  readonly model: string;
  readonly texts: readonly EncoderText[];
  readonly priority: Priority;
}

/** Where rows and readings run. */
export type Rows = Pick<Scheduler, "acquire" | "explain" | "generate" | "read">;

export class Scheduler {
  readonly #engine: EngineClient;
  readonly #queue: RequestQueue;
  readonly #pool: ModelPool;

  constructor(engine: EngineClient, queue: RequestQueue, pool: ModelPool) {
    this.#engine = engine;
    this.#queue = queue;
    this.#pool = pool;
  }

  /** Keeps the model in memory until it is disposed. */
  acquire(model: CatalogModel, signal: AbortSignal, keep_s: number | null = null): Promise<Lease> {
    return this.#pool.acquire(model, signal, keep_s);
  }

  /** What a request for the model would meet now, and how many wait for it already. */
  async outlook(model: CatalogModel): Promise<Outlook> {
    const outlook = await this.#pool.outlook(model);
    return { ...outlook, queue_length: outlook.queue_length + this.#queue.waitingFor(model.name) };
  }

  explain(prompt: PromptOfModel): Promise<PrefixMatch> {
    return this.#engine.explain(prompt);
  }

  async *generate(asked: AskedRow, signal: AbortSignal): AsyncGenerator<RowProgress, void, undefined> {
    const { request_id, priority, ...row } = asked;
    using place = await this.#queue.enter({ request_id, model: row.model, priority }, signal);
    const adapter_bytes_max = this.#pool.ledger.adapterRoom(row.model);
    const urgency = { priority, waited_ms: place.waited_ms };
    yield* this.#engine.generate({ ...row, adapter_bytes_max, urgency }, signal);
  }

  /** The numbers of each text: its vector or its score. */
  async read(texts: AskedTexts, signal: AbortSignal): Promise<readonly Float32Array[]> {
    using _ = await this.#queue.enter(texts, signal);
    return await this.#engine.read(texts.model, texts.texts, signal);
  }
}
