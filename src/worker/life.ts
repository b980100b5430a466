/** One life of the engine, as the main thread sees it: what was asked of it, and who waits for the answers. */

import { type AdapterMemory, NO_ADAPTERS } from "../core/adapter.ts";
import type { LoadedModel, ModelEstimate } from "../core/backend.ts";
import { type Failure, fromRecord } from "../core/failure.ts";
import { floatsFromBase64 } from "../core/floats.ts";
import type { Inbox } from "../core/inbox.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { KvBits } from "../core/settings.ts";
import type { EnginePort, FromEngine, RowProgress, ToEngine } from "./messages.ts";

export interface EngineDevice {
  readonly mlx_version: string;
  readonly device: string;
}

interface Pending<Value> {
  readonly promise: Promise<Value>;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Failure) => void;
}

/** What is to be loaded. */
export interface Order {
  readonly model: string;
  readonly path: string;
  /** Of its keys and values. */
  readonly kv_bytes_max: number;
  readonly kv_bits: KvBits;
  /** Told of the bytes of weights that are in memory. */
  readonly told: (bytes: number) => void;
}

type Load = Pending<LoadedModel> & Pick<Order, "told">;

/** One life of the engine, with all that would be lost with it. */
export interface Life {
  readonly port: EnginePort;
  readonly started: Pending<EngineDevice>;
  readonly stopped: Pending<void>;
  readonly loads: Map<string, Load>;
  /** Of these, which are still under way. */
  readonly loading: Set<string>;
  readonly rows: Map<number, Inbox<RowProgress>>;
  readonly explanations: Map<number, Pending<PrefixMatch>>;
  readonly measures: Map<number, Pending<ModelEstimate>>;
  readonly unloads: Map<string, Pending<void>>;
  /** The models whose tokens it knows. */
  readonly spelled: Set<string>;
  readonly readings: Map<number, Pending<readonly Float32Array[]>>;
  /** Told of what the adapters of a model take. */
  readonly adaptersTold: (model: string, memory: AdapterMemory) => void;
  readonly trims: Map<string, Pending<void>>;
  readonly watch: NodeJS.Timeout;
  /** Since its last message, while it has work. */
  quiet_ticks: number;
  ended: Failure | null;
}

export function loaded(life: Life, { model, path, kv_bytes_max, kv_bits, told }: Order): Promise<LoadedModel> {
  const known = life.loads.get(model);
  if (known !== undefined) return known.promise;
  const load = { ...pending<LoadedModel>(), told };
  life.loads.set(model, load);
  life.loading.add(model);
  post(life, { kind: "load", model, path, kv_bytes_max, kv_bits });
  return load.promise;
}

export function receive(life: Life, message: FromEngine): void {
  life.quiet_ticks = 0;
  switch (message.kind) {
    case "started":
      life.started.resolve(message);
      break;
    case "start_failed":
      life.started.reject(fromRecord(message.failure));
      break;
    case "loading":
      life.loads.get(message.model)?.told(message.bytes_done);
      break;
    case "unloaded":
      life.unloads.get(message.model)?.resolve();
      life.unloads.delete(message.model);
      break;
    case "measured":
      life.measures.get(message.id)?.resolve(message.estimate);
      life.measures.delete(message.id);
      break;
    case "measure_failed":
      life.measures.get(message.id)?.reject(fromRecord(message.failure));
      life.measures.delete(message.id);
      break;
    case "adapters":
      life.adaptersTold(message.model, message.memory);
      break;
    case "adapters_trimmed":
      life.trims.get(message.model)?.resolve();
      life.trims.delete(message.model);
      break;
    case "loaded":
      life.adaptersTold(message.loaded.model, NO_ADAPTERS);
      life.loading.delete(message.loaded.model);
      life.loads.get(message.loaded.model)?.resolve(message.loaded);
      break;
    case "load_failed":
      life.loading.delete(message.model);
      life.loads.get(message.model)?.reject(fromRecord(message.failure));
      life.loads.delete(message.model);
      break;
    case "row_failed":
      life.rows.get(message.id)?.fail(fromRecord(message.failure));
      life.rows.delete(message.id);
      break;
    case "read":
      life.readings.get(message.id)?.resolve(message.values.map(floatsFromBase64));
      break;
    case "read_failed":
      life.readings.get(message.id)?.reject(fromRecord(message.failure));
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

export function post(life: Life, message: ToEngine): void {
  life.port.postMessage(message);
}

export function pending<Value>(): Pending<Value> {
  const resolvers = Promise.withResolvers<Value>();
  // A failure that nobody waits for yet is told to the next who asks; it must not end the process.
  resolvers.promise.catch(() => undefined);
  return resolvers;
}
