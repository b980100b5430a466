/**
 * The main thread's side of the engine: one at a time, watched by its progress, started again when it died or got stuck.
 * What had not begun by then is asked again of the next engine, once and unseen; what had ends with a typed failure.
 */

import { type AdapterMemory, NO_ADAPTERS } from "../core/adapter.ts";
import type { LoadedModel, ModelEstimate } from "../core/backend.ts";
import type { EncoderText } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import type { TokenBytes } from "../core/grammar.ts";
import { Inbox } from "../core/inbox.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { KvBits } from "../core/settings.ts";
import { type EngineDevice, type Life, loaded, type Order, pending, post, receive } from "./life.ts";
import type { EngineParts, EnginePort, PromptOfModel, RowProgress, RowStart } from "./messages.ts";

/** A row, and what its model's tokens spell when its text matters. */
export interface RowRequest extends Omit<RowStart, "id"> {
  readonly tokens: TokenBytes | null;
}

// Blocks that nobody saved yet go to the disk when the engine stops, the last used first: some 2 GB on a fast one.
const STOP_MS_MAX = 3000;

// Silence is counted in ticks, so that a machine that slept, or a server that was held up, does not take it for the engine's.
const QUIET_TICKS_MAX = 4;

export class EngineClient {
  readonly #spawn: () => EnginePort;
  readonly #parts: EngineParts;
  readonly #orders = new Map<string, Order>();
  #memory_bytes_max: number | null = null;
  #adaptersTold: (model: string, memory: AdapterMemory) => void = () => undefined;
  #life: Life | null = null;
  #is_closed = false;
  #last_id = 0;

  /** `spawn` starts the engine's thread or process. */
  constructor(spawn: () => EnginePort, parts: EngineParts) {
    this.#spawn = spawn;
    this.#parts = parts;
  }

  /** Starts the engine before anybody asks. */
  begin(): void {
    this.#alive();
  }

  /** Starts the engine if it is not running. Throws a `Failure` when MLX cannot be opened. */
  device(): Promise<EngineDevice> {
    return this.#ask((life) => life.started.promise);
  }

  /** Makes the model resident; loads it once in an engine's life, and again after a failed try. */
  load(
    model: string,
    path: string,
    kv_bytes_max: number = this.#parts.settings.kv_bytes_max,
    told: (bytes: number) => void = () => undefined,
    kv_bits: KvBits = this.#parts.settings.kv_bits,
  ): Promise<LoadedModel> {
    const order = { model, path, kv_bytes_max, kv_bits, told };
    this.#orders.set(model, order);
    return this.#ask((life) => loaded(life, order));
  }

  /** Gives back all that the model takes. It has no rows; one that is not there is no matter. */
  async unload(model: string): Promise<void> {
    this.#orders.delete(model);
    const life = this.#life;
    if (life === null) return;
    life.loads.delete(model);
    life.spelled.delete(model);
    const unload = pending<void>();
    life.unloads.set(model, unload);
    post(life, { kind: "unload", model });
    await unload.promise;
  }

  /** Drops the adapters of the model that nobody uses. */
  async trimAdapters(model: string): Promise<void> {
    const life = this.#life;
    if (life === null) return;
    const trim = life.trims.get(model) ?? pending<void>();
    life.trims.set(model, trim);
    post(life, { kind: "trim_adapters", model });
    await trim.promise;
  }

  /** What the model will take, from the headers of its files. */
  measure(path: string, kv_bits: KvBits = this.#parts.settings.kv_bits): Promise<ModelEstimate> {
    return this.#ask((life) => {
      const id = this.#nextId();
      const measure = pending<ModelEstimate>();
      life.measures.set(id, measure);
      post(life, { kind: "measure", id, path, kv_bits });
      return measure.promise;
    });
  }

  /** For all of MLX, in this life of the engine and the next. */
  limitMemory(bytes: number): void {
    this.#memory_bytes_max = bytes;
    if (this.#life !== null) post(this.#life, { kind: "limit_memory", bytes });
  }

  /** `told` of what the adapters of a model take, whenever it changes. */
  watchAdapters(told: (model: string, memory: AdapterMemory) => void): void {
    this.#adaptersTold = told;
  }

  /** Runs one row to its end. The row is freed when the caller returns early or `signal` aborts. */
  async *generate(start: RowRequest, signal: AbortSignal): AsyncGenerator<RowProgress, void, undefined> {
    for (let has_replayed = false; ; has_replayed = true) {
      const life = this.#alive();
      let has_begun = false;
      try {
        for await (const progress of this.#run(life, start, signal)) {
          has_begun = true;
          yield progress;
        }
        return;
      } catch (error) {
        if (has_begun || has_replayed || !this.#isLost(life, error)) throw error;
      }
    }
  }

  /** The numbers of each text. The engine drops the work when `signal` aborts. */
  read(model: string, texts: readonly EncoderText[], signal: AbortSignal): Promise<readonly Float32Array[]> {
    return this.#ask((life) => this.#read(life, { model, texts }, signal));
  }

  /** Why a prompt would, or would not, be found in the prefix cache. */
  explain(prompt: PromptOfModel): Promise<PrefixMatch> {
    return this.#ask((life) => {
      const id = this.#nextId();
      const explanation = pending<PrefixMatch>();
      life.explanations.set(id, explanation);
      post(life, { kind: "explain", id, ...prompt });
      return explanation.promise;
    });
  }

  /** Lets the engine bring its cache to the disk first. */
  async close(): Promise<void> {
    this.#is_closed = true;
    await this.#end("it was closed");
  }

  /** The next call starts one with the settings as they are then. Nothing may be running. */
  async restart(): Promise<void> {
    await this.#end("it is started again");
  }

  async #end(reason: string): Promise<void> {
    const life = this.#life;
    if (life === null) return;
    post(life, { kind: "stop" });
    const timer = setTimeout(life.stopped.resolve, STOP_MS_MAX);
    await life.stopped.promise;
    clearTimeout(timer); // it would keep the program alive
    this.#bury(life, reason);
  }

  /** What an engine lost is asked once more, of the next. */
  async #ask<Value>(act: (life: Life) => Promise<Value>): Promise<Value> {
    const life = this.#alive();
    try {
      return await act(life);
    } catch (error) {
      if (!this.#isLost(life, error)) throw error;
      return await act(this.#alive());
    }
  }

  #isLost(life: Life, error: unknown): boolean {
    return error === life.ended && !this.#is_closed;
  }

  async *#run(
    life: Life,
    { tokens, ...start }: RowRequest,
    signal: AbortSignal,
  ): AsyncGenerator<RowProgress, void, undefined> {
    await this.#hold(life, start.model);
    signal.throwIfAborted();
    if (life.ended !== null) throw life.ended;
    const id = this.#nextId();
    const inbox = new Inbox<RowProgress>();
    const onAbort = () => inbox.fail(signal.reason);
    life.rows.set(id, inbox);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (tokens !== null && !life.spelled.has(start.model)) {
        life.spelled.add(start.model);
        const bytes_base64 = Buffer.from(tokens.bytes).toString("base64");
        post(life, { kind: "tokens", model: start.model, bytes_base64, offsets: [...tokens.offsets] });
      }
      post(life, { kind: "generate", row: { ...start, id } });
      yield* inbox;
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (life.rows.delete(id)) post(life, { kind: "abort", id });
    }
  }

  async #read(
    life: Life,
    asked: { readonly model: string; readonly texts: readonly EncoderText[] },
    signal: AbortSignal,
  ): Promise<readonly Float32Array[]> {
    await this.#hold(life, asked.model);
    signal.throwIfAborted();
    if (life.ended !== null) throw life.ended;
    const id = this.#nextId();
    const reading = pending<readonly Float32Array[]>();
    const onAbort = () => {
      reading.reject(signal.reason);
      post(life, { kind: "abort", id });
    };
    life.readings.set(id, reading);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      post(life, { kind: "read", id, ...asked });
      return await reading.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
      life.readings.delete(id);
    }
  }

  /** An engine that came after a death holds nothing yet. */
  async #hold(life: Life, model: string): Promise<void> {
    const order = this.#orders.get(model);
    if (order !== undefined) await loaded(life, order);
  }

  #nextId(): number {
    this.#last_id += 1;
    return this.#last_id;
  }

  #alive(): Life {
    if (this.#is_closed) throw new Failure("engine", "Cannot go on: the engine was closed");
    this.#life ??= this.#start();
    return this.#life;
  }

  #start(): Life {
    const life: Life = {
      port: this.#spawn(),
      started: pending(),
      stopped: pending(),
      loads: new Map(),
      loading: new Set(),
      rows: new Map(),
      explanations: new Map(),
      measures: new Map(),
      unloads: new Map(),
      spelled: new Set(),
      readings: new Map(),
      adaptersTold: (model, memory) => this.#adaptersTold(model, memory),
      trims: new Map(),
      watch: setInterval(() => this.#watch(life), this.#parts.settings.stall_ms_max / QUIET_TICKS_MAX),
      quiet_ticks: 0,
      ended: null,
    };
    life.watch.unref();
    life.port.addEventListener("message", (event) => receive(life, event.data));
    // Without an error listener a worker that cannot start would be waited for without end.
    life.port.addEventListener("error", (event) => this.#bury(life, sentenceOf(event.message)));
    life.port.addEventListener("close", () => this.#bury(life, "its thread ended"));
    post(life, { kind: "start", parts: this.#parts });
    if (this.#memory_bytes_max !== null) post(life, { kind: "limit_memory", bytes: this.#memory_bytes_max });
    return life;
  }

  #watch(life: Life): void {
    const asked = [life.rows, life.loading, life.explanations, life.readings, life.measures, life.unloads, life.trims];
    const is_idle = asked.every(({ size }) => size === 0);
    life.quiet_ticks = is_idle ? 0 : life.quiet_ticks + 1;
    if (life.quiet_ticks <= QUIET_TICKS_MAX) return;
    this.#bury(life, `it had work and made no progress for ${this.#parts.settings.stall_ms_max} ms`);
  }

  /** Ends everything the dead engine carried; the next call starts a new one. */
  #bury(life: Life, reason: string): void {
    if (life.ended !== null) return;
    if (this.#life === life) this.#life = null;
    const failure = new Failure("engine", `Cannot go on: the engine stopped: ${reason}`);
    life.ended = failure;
    clearInterval(life.watch);
    life.started.reject(failure);
    life.stopped.resolve();
    for (const load of life.loads.values()) load.reject(failure);
    for (const reading of life.readings.values()) reading.reject(failure);
    for (const explanation of life.explanations.values()) explanation.reject(failure);
    for (const measure of life.measures.values()) measure.reject(failure);
    // With the engine all it held is gone.
    for (const model of life.loads.keys()) life.adaptersTold(model, NO_ADAPTERS);
    for (const gone of [...life.unloads.values(), ...life.trims.values()]) gone.resolve();
    for (const row of life.rows.values()) row.fail(failure);
    life.rows.clear();
    life.port.terminate();
  }
}

/** A thread's error comes with the lines of source around it. */
function sentenceOf(message: string): string {
  return /^\w*error: (.+)$/im.exec(message)?.[1] ?? message;
}
