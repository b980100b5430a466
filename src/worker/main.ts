/** The engine's thread: the only one that opens MLX. Turns messages into engine calls and steps into messages. */

import type { LoadedModel } from "../core/backend.ts";
import { Failure, type FailureRecord, toRecord } from "../core/failure.ts";
import { Engine } from "../engine/engine.ts";
import { openLibrary } from "../mlx/library.ts";
import type { Model } from "../models/family.ts";
import { loadModel } from "../models/load.ts";
import type { FromEngine, RowProgress, RowStart, ToEngine } from "./messages.ts";

declare const self: Worker;

// Prompt tokens in one step, for which an abort and every running row may have to wait:
// a GPU takes many at the price of one, stock MLX on a CPU takes each at the full price.
const PREFILL_CHUNK = { gpu: 512, cpu: 64 } as const;

let engine: Engine | null = null;
let start_failure: FailureRecord | null = null;
const models = new Map<string, Model>();
let stepping = false;

self.onmessage = (event: MessageEvent<ToEngine>) => {
  const message = event.data;
  switch (message.kind) {
    case "start":
      send(start(message.library));
      break;
    case "load":
      send(load(message.model, message.path));
      break;
    case "generate":
      generate(message.row);
      break;
    case "abort":
      engine?.remove(message.id);
  }
};

function start(path: string): FromEngine {
  try {
    const { version, device } = openLibrary(path);
    engine = new Engine(PREFILL_CHUNK[device]);
    return { kind: "started", mlx_version: version, device };
  } catch (error) {
    const { message } = toRecord(error, "unavailable");
    start_failure = record(`Cannot open the MLX library ${path}: ${message}`);
    return { kind: "start_failed", failure: start_failure };
  }
}

function load(name: string, path: string): FromEngine {
  if (start_failure !== null) return { kind: "load_failed", model: name, failure: start_failure };
  try {
    const model = models.get(name) ?? loadModel(path);
    models.set(name, model);
    return { kind: "loaded", loaded: describe(name, model) };
  } catch (error) {
    return { kind: "load_failed", model: name, failure: toRecord(error, "unavailable") };
  }
}

function generate(row: RowStart): void {
  const model = models.get(row.model);
  if (engine === null || model === undefined) {
    const failure = record(`Cannot generate: the engine holds no model "${row.model}"`);
    send({ kind: "row_failed", id: row.id, failure });
    return;
  }
  engine.add(row, model);
  if (!stepping) void run(engine);
}

/** Steps while there are rows. Between two steps the thread looks at its messages, so an abort waits for one step at most. */
async function run(engine: Engine): Promise<void> {
  stepping = true;
  while (engine.rows > 0) {
    const rows: RowProgress[] = [];
    for (const outcome of engine.step()) {
      if (outcome.kind === "failed") send({ kind: "row_failed", id: outcome.id, failure: outcome.failure });
      else if (outcome.token_ids.length > 0 || outcome.finish !== null) rows.push(outcome);
    }
    if (rows.length > 0) send({ kind: "step", rows });
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  stepping = false;
}

function describe(name: string, model: Model): LoadedModel {
  const { context_length, vocabulary_size, bytes_resident } = model;
  return { model: name, context_length, vocabulary_size, bytes_resident };
}

function record(message: string): FailureRecord {
  return toRecord(new Failure("unavailable", message), "unavailable");
}

function send(message: FromEngine): void {
  self.postMessage(message);
}
