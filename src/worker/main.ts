/**
 * The engine's side of the boundary, a thread or a process: the only one that opens MLX. Turns messages into engine calls
 * and steps into messages.
 */

import { assert } from "../core/assert.ts";
import type { LoadedModel } from "../core/backend.ts";
import { Failure, type FailureRecord, toRecord } from "../core/failure.ts";
import { BlockFiles } from "../engine/block-files.ts";
import { blockKey } from "../engine/disk-tier.ts";
import { Engine, type RowOutcome } from "../engine/engine.ts";
import { openExtras, setFast, setThreads } from "../mlx/extras.ts";
import { openLibrary } from "../mlx/library.ts";
import { clearCache, limitMemory } from "../mlx/memory.ts";
import { estimateModel } from "../models/estimate.ts";
import type { Model } from "../models/family.ts";
import { loadModel } from "../models/load.ts";
import type { EngineParts, FromEngine, RowProgress, RowStart, ToEngine } from "./messages.ts";

declare const self: Worker;

interface Resident {
  readonly model: Model;
  readonly engine: Engine;
}

// So long without a row, and the prefix cache goes to the disk.
const IDLE_MS = 1000;

// A tenth of the shortest silence that may be taken for a stall.
const LOADING_MS = 100;

/** Once MLX is open. */
let started: { readonly parts: EngineParts; readonly files: BlockFiles } | null = null;
let start_failure: FailureRecord | null = null;
const residents = new Map<string, Resident>();
let stepping = false;
let stopping = false;
let idle: NodeJS.Timeout | null = null;

if (Bun.isMainThread) speakToParent();
else self.onmessage = (event: MessageEvent<ToEngine>) => receive(event.data);

/** A process ends with its parent, however that ended, and leaves signals for a whole group to it. */
function speakToParent(): void {
  process.on("message", receive);
  process.on("disconnect", () => process.exit());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => undefined);
}

function receive(message: ToEngine): void {
  switch (message.kind) {
    case "start":
      send(start(message.parts));
      break;
    case "measure":
      send(measure(message));
      break;
    case "load":
      send(load(message));
      break;
    case "unload":
      send(unload(message.model));
      break;
    case "limit_memory":
      if (started !== null) limitMemory(message.bytes);
      break;
    case "generate":
      generate(message.row);
      break;
    case "abort":
      for (const { engine } of residents.values()) engine.remove(message.id);
      break;
    case "explain":
      send(explain(message));
      break;
    case "stop":
      void stop();
  }
}

function start(parts: EngineParts): FromEngine {
  const { library, settings, blocks } = parts;
  try {
    const { version, device } = openLibrary(library);
    openExtras(library, true);
    setThreads(settings.threads);
    setFast(settings.precision === "fast");
    started = { parts, files: new BlockFiles(blocks.folder, settings.kv_disk_bytes_max, epochMs) };
    return { kind: "started", mlx_version: version, device };
  } catch (error) {
    const { message } = toRecord(error, "unavailable");
    start_failure = record(`Cannot open the MLX library ${library}: ${message}`);
    return { kind: "start_failed", failure: start_failure };
  }
}

function measure({ id, path }: ToEngine & { kind: "measure" }): FromEngine {
  try {
    assert(started !== null, "the engine starts before it measures");
    return { kind: "measured", id, estimate: estimateModel(path, started.parts.settings) };
  } catch (error) {
    return { kind: "measure_failed", id, failure: start_failure ?? toRecord(error, "unavailable") };
  }
}

function load({ model: name, path, kv_bytes_max }: ToEngine & { kind: "load" }): FromEngine {
  if (start_failure !== null) return { kind: "load_failed", model: name, failure: start_failure };
  try {
    const resident = residents.get(name) ?? open(name, path, kv_bytes_max);
    residents.set(name, resident);
    return { kind: "loaded", loaded: describe(name, resident) };
  } catch (error) {
    return { kind: "load_failed", model: name, failure: toRecord(error, "unavailable") };
  }
}

/** Without rows: its answers have ended. */
function unload(name: string): FromEngine {
  const resident = residents.get(name);
  residents.delete(name);
  resident?.engine[Symbol.dispose]();
  resident?.model[Symbol.dispose]();
  clearCache();
  return { kind: "unloaded", model: name };
}

function open(name: string, path: string, kv_bytes_max: number): Resident {
  assert(started !== null, "the engine starts before it loads");
  const { parts, files } = started;
  const model = loadModel(path, tellLoading(name));
  const key = blockKey(path, parts.library, parts.blocks.version, model.cache_shape);
  const settings = { ...parts.settings, kv_bytes_max };
  return { model, engine: new Engine(model, settings, () => performance.now(), { files, key }) };
}

/** A load is silent otherwise, and the engine would be taken for stuck. */
function tellLoading(model: string): (bytes_done: number) => void {
  let told_ms = performance.now();
  return (bytes_done) => {
    if (performance.now() - told_ms < LOADING_MS) return;
    told_ms = performance.now();
    send({ kind: "loading", model, bytes_done });
  };
}

/** An engine that has just been started again holds nothing. */
function explain({ id, model, prompt_ids }: ToEngine & { kind: "explain" }): FromEngine {
  const match = residents.get(model)?.engine.explain(prompt_ids) ?? { matched_tokens: 0, departure: null };
  return { kind: "explained", id, match };
}

function generate(row: RowStart): void {
  const resident = residents.get(row.model);
  try {
    if (resident === undefined)
      throw new Failure("engine", `Cannot generate: the engine holds no model "${row.model}"`);
    resident.engine.add(row);
  } catch (error) {
    send({ kind: "row_failed", id: row.id, failure: toRecord(error, "engine") });
    return;
  }
  if (!stepping) void run();
}

/** Steps while there are rows, model by model. Between two steps the thread looks at its messages, so an abort waits for one step at most. */
async function run(): Promise<void> {
  stepping = true;
  if (idle !== null) clearTimeout(idle);
  for (let busy = true; busy; ) {
    busy = false;
    for (const { engine } of residents.values()) {
      if (stopping || engine.rows === 0) continue;
      busy = true;
      report(engine.step());
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
  stepping = false;
  idle = setTimeout(() => void keepCached(), IDLE_MS);
}

async function stop(): Promise<void> {
  stopping = true;
  await keepCached();
  send({ kind: "stopped" });
}

async function keepCached(): Promise<void> {
  for (const { engine } of residents.values()) await engine.keepCached();
}

function report(outcomes: readonly RowOutcome[]): void {
  const rows: RowProgress[] = [];
  for (const outcome of outcomes) {
    if (outcome.kind === "failed") send({ kind: "row_failed", id: outcome.id, failure: outcome.failure });
    else if (outcome.token_ids.length > 0 || outcome.finish !== null) rows.push(outcome);
  }
  send({ kind: "step", rows });
}

function describe(name: string, { model, engine }: Resident): LoadedModel {
  const { vocabulary_size, bytes_resident } = model;
  return { model: name, context_length: engine.context_length, vocabulary_size, bytes_resident };
}

function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

function record(message: string): FailureRecord {
  return toRecord(new Failure("unavailable", message), "unavailable");
}

function send(message: FromEngine): void {
  if (Bun.isMainThread) process.send?.(message);
  else self.postMessage(message);
}
