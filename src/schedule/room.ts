/** Whether a model fits beside others, and what it may then take. Pure: it reserves nothing. */

import type { ModelEstimate } from "../core/backend.ts";
import { divideCache, divideWindows } from "../core/cache-shares.ts";
import { Failure } from "../core/failure.ts";
import type { Outlook } from "../core/routing.ts";
import type { PoolSettings } from "../core/settings.ts";
import { type Account, type Entry, takenBytes } from "./ledger.ts";

export interface Limits {
  readonly limit_bytes: number;
  readonly models_max: number;
}

/**
 * The bytes that its keys and values may take, null when it does not fit. At most half of what is left, if that is enough:
 * the next model would have no room otherwise.
 */
export function kvRoom(estimate: ModelEstimate, taken: readonly Account[], limits: Limits): number | null {
  const { weights_bytes, step_bytes, kv_bytes_min, kv_bytes_max } = estimate;
  if (taken.length >= limits.models_max) return null;
  const left = limits.limit_bytes - takenBytes([...taken, { weights_bytes, kv_bytes: 0, step_bytes }]);
  const kv_bytes = Math.min(kv_bytes_max, Math.max(kv_bytes_min, Math.floor(left / 2)));
  return kv_bytes <= left ? kv_bytes : null;
}

/** `nextVictim`: who would go after these; null: nobody may. Nobody goes in vain. */
export function foresee(
  estimate: ModelEstimate,
  entries: readonly Entry[],
  limits: Limits,
  nextVictim: (gone: readonly string[]) => string | null,
): Pick<Outlook, "context_length" | "evicts"> {
  const contextWithout = (gone: readonly string[]) => {
    const taken = entries.filter(({ model }) => !gone.includes(model));
    const kv_bytes = kvRoom(estimate, taken, limits);
    return kv_bytes === null ? null : admittedContext(estimate, kv_bytes);
  };
  const evicts: string[] = [];
  let context_length = contextWithout(evicts);
  while (context_length === null) {
    const victim = nextVictim(evicts);
    if (victim === null) return { context_length: null, evicts: [] };
    evicts.push(victim);
    context_length = contextWithout(evicts);
  }
  for (const model of evicts.toReversed()) {
    const others = evicts.filter((other) => other !== model);
    if (contextWithout(others) === context_length) evicts.splice(evicts.indexOf(model), 1);
  }
  return { context_length, evicts };
}

function admittedContext(estimate: ModelEstimate, kv_bytes: number): number {
  const { kv_windows, kv_block_bytes: block_bytes, kv_state_bytes: state_bytes, rows_max } = estimate;
  const { blocks_max } =
    kv_windows === null
      ? divideCache(kv_bytes, { block_bytes, state_bytes }, rows_max)
      : divideWindows(kv_bytes, kv_windows, rows_max);
  return Math.min(estimate.context_length, blocks_max * estimate.kv_block_tokens);
}

export function limitBytes({ memory_limit_mode, memory_limit_value }: PoolSettings, memory_bytes: number): number {
  switch (memory_limit_mode) {
    case "percent":
      return Math.floor((memory_bytes * memory_limit_value) / 100);
    case "gb":
      return Math.floor(memory_limit_value * GB);
  }
}

const GB = 1e9;

// Long enough for an answer to end and its model to make room, short enough to be worth asking again.
const RETRY_S = 5;

/** `stays`: what is left when all have gone that may go now. */
export function noRoom(model: string, estimate: ModelEstimate, stays: readonly Account[], limits: Limits): Failure {
  const act = `Cannot load "${model}"`;
  const { limit_bytes, models_max } = limits;
  if (stays.length >= models_max) {
    const state = `${stays.length} models are in memory and none may go, max_models is ${models_max}`;
    return new Failure("no_memory", `${act}: ${state}`, "model", RETRY_S);
  }
  const { weights_bytes, kv_bytes_min, step_bytes } = estimate;
  const needed = takenBytes([...stays, { weights_bytes, kv_bytes: kv_bytes_min, step_bytes }]) - takenBytes(stays);
  const free = Math.max(0, limit_bytes - takenBytes(stays));
  const state = `it needs ${inGb(needed)}, ${inGb(free)} of ${inGb(limit_bytes)} can be free`;
  return new Failure("no_memory", `${act}: ${state}, ${needed - free} bytes are missing`, "model", RETRY_S);
}

function inGb(bytes: number): string {
  return `${(bytes / GB).toFixed(3)} GB`;
}
