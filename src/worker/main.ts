/**
 * The engine's side of the boundary, a thread or a process: the only one that opens MLX. Turns messages into engine calls
 * and steps into messages.
 */

import { type AdapterMemory, NO_ADAPTERS } from "../core/adapter.ts";
import { assert } from "../core/assert.ts";
import type { LoadedModel } from "../core/backend.ts";
import { Failure, type FailureRecord, toRecord } from "../core/failure.ts";
import { floatsToBase64 } from "../core/floats.ts";
import type { RowStep } from "../core/generation.ts";
import type { ReadingPurpose } from "../core/purpose.ts";
import type { EngineSettings } from "../core/settings.ts";
import { BlockFiles } from "../engine/block-files.ts";
import { decoderReader } from "../engine/decoder-reader.ts";
import { blockKey } from "../engine/disk-tier.ts";
import { encoderReader } from "../engine/encoder-reader.ts";
import { Engine, type RowOutcome } from "../engine/engine.ts";
import { ReadingLane, type ReadOutcome } from "../engine/reading-lane.ts";
import type { TextReader } from "../engine/text-reader.ts";
import { openExtras, setFast, setThreads, wasFileCut } from "../mlx/extras.ts";
import { openLibrary } from "../mlx/library.ts";
import { clearCache, limitMemory } from "../mlx/memory.ts";
import { estimateModel } from "../models/estimate.ts";
import type { Model } from "../models/family.ts";
import { type Opened, openModel } from "../models/load.ts";
import { type FileStamp, findWritten, stampWeights } from "../models/model-files.ts";
import type { EngineParts, FromEngine, RowProgress, RowStart, ToEngine } from "./messages.ts";

declare const self: Worker;

/** A model that answers has an engine, one that only reads a lane. */
type Resident = { readonly files: readonly FileStamp[] } & (
  | { readonly kind: "engine"; readonly model: Model; readonly engine: Engine; adapters_told: AdapterMemory }
  | { readonly kind: "lane"; readonly lane: ReadingLane }
);

// How long texts are read at a time while nothing else waits: who leaves is noticed no later.
const READ_MS = 50;

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
  // A listener of messages that throws does not end a process of Bun by itself.
  for (const bug of ["uncaughtException", "unhandledRejection"] as const) process.on(bug, fallOver);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => undefined);
}

function fallOver(error: unknown): void {
  process.stderr.write(`${Bun.inspect(error)}\n`);
  process.exit(1);
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
    case "tokens":
      learnTokens(message);
      break;
    case "generate":
      generate(message.row);
      break;
    case "read":
      readTexts(message);
      break;
    case "abort":
      for (const resident of residents.values()) remove(resident, message.id);
      tellAdapters();
      break;
    case "trim_adapters":
      trimAdapters(message);
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

function measure({ id, path, kv_bits }: ToEngine & { kind: "measure" }): FromEngine {
  try {
    assert(started !== null, "the engine starts before it measures");
    return { kind: "measured", id, estimate: estimateModel(path, { ...started.parts.settings, kv_bits }) };
  } catch (error) {
    return { kind: "measure_failed", id, failure: start_failure ?? toRecord(error, "unavailable") };
  }
}

function load({ model: name, path, kv_bytes_max, kv_bits }: ToEngine & { kind: "load" }): FromEngine {
  if (start_failure !== null) return { kind: "load_failed", model: name, failure: start_failure };
  try {
    const resident = residents.get(name) ?? open(name, path, { kv_bytes_max, kv_bits });
    residents.set(name, resident);
    clearCache(); // what was read on the way to where it stays
    return { kind: "loaded", loaded: describe(name, resident) };
  } catch (error) {
    return { kind: "load_failed", model: name, failure: toRecord(error, "unavailable") };
  }
}

/** Without rows: its answers have ended. */
function unload(name: string): FromEngine {
  const resident = residents.get(name);
  residents.delete(name);
  if (resident?.kind === "engine") {
    resident.engine[Symbol.dispose]();
    resident.model[Symbol.dispose]();
  } else resident?.lane[Symbol.dispose]();
  clearCache();
  Bun.gc(true); // what its files and its cache were in JavaScript would stay with the process for long
  return { kind: "unloaded", model: name };
}

function open(name: string, path: string, own: Pick<EngineSettings, "kv_bytes_max" | "kv_bits">): Resident {
  assert(started !== null, "the engine starts before it loads");
  const { parts, files } = started;
  const settings = { ...parts.settings, ...own };
  const stamps = stampWeights(path); // before they are read: what is written meanwhile is noticed too
  const opened = openModel(path, tellLoading(name));
  try {
    if (opened.kind === "answers") {
      const { model } = opened;
      const key = blockKey(path, parts.library, parts.blocks.version, model.cache_shape, settings);
      const engine = new Engine(model, settings, nowMs, { files, key });
      return { kind: "engine", files: stamps, model, engine, adapters_told: NO_ADAPTERS };
    }
    return { kind: "lane", files: stamps, lane: new ReadingLane(readerOf(opened, settings), nowMs) };
  } catch (error) {
    opened.model[Symbol.dispose]();
    throw error;
  }
}

function readerOf(opened: Opened & { purpose: ReadingPurpose }, settings: EngineSettings): TextReader {
  if (opened.kind === "reads_both_ways") return encoderReader(opened.model, opened.purpose);
  return decoderReader(opened.model, opened.purpose, settings.kv_bytes_max);
}

/** Of all models, when it has changed: as rows come and go, and when adapters are dropped. */
function tellAdapters(): void {
  for (const [model, resident] of residents) {
    if (resident.kind !== "engine") continue;
    const { engine, adapters_told: told } = resident;
    const memory = engine.adapter_memory;
    if (memory.bytes === told.bytes && memory.idle_bytes === told.idle_bytes) continue;
    resident.adapters_told = memory;
    send({ kind: "adapters", model, memory });
  }
}

function trimAdapters({ model }: ToEngine & { kind: "trim_adapters" }): void {
  const resident = residents.get(model);
  if (resident?.kind === "engine") resident.engine.trimAdapters();
  clearCache();
  tellAdapters();
  send({ kind: "adapters_trimmed", model });
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
function explain({ id, model, adapter, prompt_ids }: ToEngine & { kind: "explain" }): FromEngine {
  const resident = residents.get(model);
  const match = resident?.kind === "engine" ? resident.engine.explain(prompt_ids, adapter) : NOTHING_HELD;
  return { kind: "explained", id, match };
}

const NOTHING_HELD = { matched_tokens: 0, departure: null } as const;

function learnTokens({ model, bytes_base64, offsets }: ToEngine & { kind: "tokens" }): void {
  const bytes = Uint8Array.from(Buffer.from(bytes_base64, "base64"));
  const resident = residents.get(model);
  if (resident?.kind === "engine") resident.engine.learnTokens({ bytes, offsets: Uint32Array.from(offsets) });
}

function generate(row: RowStart): void {
  const resident = untouched(residents.get(row.model));
  try {
    if (resident?.kind !== "engine")
      throw new Failure("engine", `Cannot generate: the engine holds no model "${row.model}" that answers`);
    resident.engine.add(row);
    tellAdapters();
  } catch (error) {
    send({ kind: "row_failed", id: row.id, failure: toRecord(error, "engine") });
    return;
  }
  if (!stepping) void run();
}

function readTexts({ id, model, texts }: ToEngine & { kind: "read" }): void {
  const resident = untouched(residents.get(model));
  if (resident?.kind !== "lane") {
    const failure = new Failure("engine", `Cannot read: the engine holds no model "${model}" for it`);
    send({ kind: "read_failed", id, failure: toRecord(failure, "engine") });
    return;
  }
  resident.lane.add(id, texts);
  if (!stepping) void run();
}

function remove(resident: Resident, id: number): void {
  if (resident.kind === "engine") resident.engine.remove(id);
  else resident.lane.remove(id);
}

/**
 * Steps while there are rows, model by model, and then reads texts in what is left of the answers' gap. After each the
 * thread looks at its messages, so an abort waits for one of them at most.
 */
async function run(): Promise<void> {
  stepping = true;
  if (idle !== null) clearTimeout(idle);
  while (!stopping) {
    const began_ms = nowMs();
    const answering = kept("engine").filter(({ engine }) => engine.rows > 0);
    const reading = kept("lane").filter(({ lane }) => lane.jobs > 0);
    if (answering.length + reading.length === 0) break;
    for (const { engine } of answering) {
      if (engine.rows > 0) report(whole(engine.step()));
      await messages();
    }
    for (const { lane } of reading) {
      tell(whole(answering.length > 0 ? lane.advance(gapLeft(began_ms), true) : lane.advance(READ_MS, false)));
      await messages();
    }
  }
  stepping = false;
  idle = setTimeout(() => void keepCached(), IDLE_MS);
}

/** If nobody wrote to its files, which are in use where they lie: else this engine ends, and the next one reads them anew. */
function untouched(resident: Resident | undefined): Resident | undefined {
  const written = findWritten(resident?.files ?? []);
  if (written !== null) throw new Error(`${written} was written to while it was in use`);
  return resident;
}

/** What was computed, if from whole files: else this engine ends, and the next one tells what it finds in their place. */
function whole<Computed>(computed: Computed): Computed {
  if (wasFileCut()) throw new Error("a file of a model became shorter while it was in use");
  return computed;
}

function kept<Kind extends Resident["kind"]>(kind: Kind): (Resident & { kind: Kind })[] {
  const isOf = (resident: Resident): resident is Resident & { kind: Kind } => resident.kind === kind;
  return [...residents.values()].filter(isOf);
}

function messages(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function gapLeft(began_ms: number): number {
  assert(started !== null, "the engine starts before it reads");
  return Math.max(0, started.parts.settings.decode_gap_ms_target - (nowMs() - began_ms));
}

function tell(outcomes: readonly ReadOutcome[]): void {
  for (const outcome of outcomes) {
    if (outcome.kind === "failed") send({ kind: "read_failed", id: outcome.id, failure: outcome.failure });
    else send({ kind: "read", id: outcome.id, values: outcome.values.map(floatsToBase64) });
  }
  if (outcomes.length === 0) send({ kind: "step", rows: [] });
}

async function stop(): Promise<void> {
  stopping = true;
  await keepCached();
  send({ kind: "stopped" });
}

async function keepCached(): Promise<void> {
  for (const { engine } of kept("engine")) await engine.keepCached();
}

function report(outcomes: readonly RowOutcome[]): void {
  const rows: RowProgress[] = [];
  for (const outcome of outcomes) {
    if (outcome.kind === "failed") send({ kind: "row_failed", id: outcome.id, failure: outcome.failure });
    else if (tells(outcome)) rows.push(outcome);
  }
  send({ kind: "step", rows });
  tellAdapters();
}

function tells({ token_ids, finish, prompt_logprobs = [] }: RowStep): boolean {
  return token_ids.length > 0 || finish !== null || prompt_logprobs.length > 0;
}

function describe(name: string, resident: Resident): LoadedModel {
  const { vocabulary_size, bytes_resident } = resident.kind === "engine" ? resident.model : resident.lane.reader;
  const { context_length } = resident.kind === "engine" ? resident.engine : resident.lane.reader;
  return { model: name, context_length, vocabulary_size, bytes_resident };
}

function nowMs(): number {
  return performance.now();
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
