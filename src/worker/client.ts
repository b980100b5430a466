/**
 * The main thread's side of the engine: one worker, restarted when it died.
 * A dead engine ends its rows and loads with a typed failure; the next call starts a new one.
 */

import type { LoadedModel } from "../core/backend.ts";
import { Failure, fromRecord } from "../core/failure.ts";
import type { TokenBytes } from "../core/grammar.ts";
import { Inbox } from "../core/inbox.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { EngineParts, FromEngine, RowProgress, RowStart, ToEngine } from "./messages.ts";

export interface EngineDevice {
  readonly mlx_version: string;
  readonly device: string;
}

/** A row, and what its model's tokens spell when it has a grammar. */
export interface RowRequest extends Omit<RowStart, "id"> {
  readonly tokens: TokenBytes | null;
}

interface Pending<Value> {
  readonly promise: Promise<Value>;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Failure) => void;
}

// Blocks that nobody saved yet go to the disk when the engine stops, the last used first: some 2 GB on a fast one.
const STOP_MS_MAX = 3000;

/** One life of the worker, with all that would be lost with it. */
interface Life {
  readonly worker: Worker;
  readonly started: Pending<EngineDevice>;
  readonly stopped: Pending<void>;
  readonly loads: Map<string, Pending<LoadedModel>>;
  readonly rows: Map<number, Inbox<RowProgress>>;
  readonly explanations: Map<number, Pending<PrefixMatch>>;
  /** The models whose tokens it knows. */
  readonly spelled: Set<string>;
}

export class EngineClient {
  readonly #spawn: () => Worker;
  readonly #parts: EngineParts;
  #life: Life | null = null;
  #last_id = 0;

  /** `spawn` starts the worker's thread. */
  constructor(spawn: () => Worker, parts: EngineParts) {
    this.#spawn = spawn;
    this.#parts = parts;
  }

  /** Starts the engine if it is not running. Throws a `Failure` when MLX cannot be opened. */
  device(): Promise<EngineDevice> {
    return this.#alive().started.promise;
  }

  /** Makes the model resident; loads it once in an engine's life, and again after a failed try. */
  load(model: string, path: string): Promise<LoadedModel> {
    const life = this.#alive();
    const known = life.loads.get(model);
    if (known !== undefined) return known.promise;
    const load = pending<LoadedModel>();
    life.loads.set(model, load);
    post(life, { kind: "load", model, path });
    return load.promise;
  }

  /** Runs one row to its end. The row is freed when the caller returns early or `signal` aborts. */
  async *generate({ tokens, ...start }: RowRequest, signal: AbortSignal): AsyncGenerator<RowProgress, void, undefined> {
    signal.throwIfAborted();
    const life = this.#alive();
    this.#last_id += 1;
    const id = this.#last_id;
    const inbox = new Inbox<RowProgress>();
    const onAbort = () => inbox.fail(signal.reason);
    life.rows.set(id, inbox);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (start.grammar !== null && tokens !== null && !life.spelled.has(start.model)) {
        life.spelled.add(start.model);
        post(life, { kind: "tokens", model: start.model, tokens });
      }
      post(life, { kind: "generate", row: { ...start, id } });
      yield* inbox;
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (life.rows.delete(id)) post(life, { kind: "abort", id });
    }
  }

  /** Why a prompt would, or would not, be found in the prefix cache. */
  explain(model: string, prompt_ids: readonly number[]): Promise<PrefixMatch> {
    const life = this.#alive();
    this.#last_id += 1;
    const id = this.#last_id;
    const explanation = pending<PrefixMatch>();
    life.explanations.set(id, explanation);
    post(life, { kind: "explain", id, model, prompt_ids });
    return explanation.promise;
  }

  /** Lets the engine bring its cache to the disk first. */
  async close(): Promise<void> {
    const life = this.#life;
    if (life === null) return;
    post(life, { kind: "stop" });
    await Promise.race([life.stopped.promise, Bun.sleep(STOP_MS_MAX)]);
    this.#bury(life, "it was closed");
  }

  #alive(): Life {
    this.#life ??= this.#start();
    return this.#life;
  }

  #start(): Life {
    const life: Life = {
      worker: this.#spawn(),
      started: pending(),
      stopped: pending(),
      loads: new Map(),
      rows: new Map(),
      explanations: new Map(),
      spelled: new Set(),
    };
    life.worker.addEventListener("message", (event: MessageEvent<FromEngine>) => receive(life, event.data));
    // Without an error listener a worker that cannot start would be waited for without end.
    life.worker.addEventListener("error", (event) => this.#bury(life, event.message));
    life.worker.addEventListener("close", () => this.#bury(life, "its thread ended"));
    post(life, { kind: "start", parts: this.#parts });
    return life;
  }

  /** Ends everything the dead worker carried; the next call starts a new one. */
  #bury(life: Life, reason: string): void {
    if (this.#life !== life) return;
    this.#life = null;
    const failure = new Failure("engine", `Cannot go on: the engine stopped: ${reason}`);
    life.started.reject(failure);
    life.stopped.resolve();
    for (const load of life.loads.values()) load.reject(failure);
    for (const explanation of life.explanations.values()) explanation.reject(failure);
    for (const row of life.rows.values()) row.fail(failure);
    life.rows.clear();
    life.worker.terminate();
  }
}

function receive(life: Life, message: FromEngine): void {
  switch (message.kind) {
    case "started":
      life.started.resolve(message);
      break;
    case "start_failed":
      life.started.reject(fromRecord(message.failure));
      break;
    case "loaded":
      life.loads.get(message.loaded.model)?.resolve(message.loaded);
      break;
    case "load_failed":
      life.loads.get(message.model)?.reject(fromRecord(message.failure));
      life.loads.delete(message.model);
      break;
    case "row_failed":
      life.rows.get(message.id)?.fail(fromRecord(message.failure));
      life.rows.delete(message.id);
      break;
    case "explained":
      life.explanations.get(message.id)?.resolve(message.match);
      life.explanations.delete(message.id);
      break;
    case "stopped":
      life.stopped.resolve();
      break;
    case "step":
      for (const row of message.rows) deliver(life, row);
  }
}

/** A row that is no longer known was given up by its reader. */
function deliver(life: Life, progress: RowProgress): void {
  const inbox = life.rows.get(progress.id);
  if (inbox === undefined) return;
  inbox.push(progress);
  if (progress.finish === null) return;
  inbox.end();
  life.rows.delete(progress.id);
}

function post(life: Life, message: ToEngine): void {
  life.worker.postMessage(message);
}

function pending<Value>(): Pending<Value> {
  const resolvers = Promise.withResolvers<Value>();
  // A failure that nobody waits for yet is told to the next who asks; it must not end the process.
  resolvers.promise.catch(() => undefined);
  return resolvers;
}
