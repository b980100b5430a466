/** Whether a model fits beside others, and what it may then take. Pure: it reserves nothing. */

import type { ModelEstimate } from "../core/backend.ts";
import { divideCache } from "../core/cache-shares.ts";
import type { Outlook } from "../core/routing.ts";
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

/** `nextVictim`: who would go after these; null: nobody may. */
export function foresee(
  estimate: ModelEstimate,
  entries: readonly Entry[],
  limits: Limits,
  nextVictim: (gone: readonly string[]) => string | null,
): Pick<Outlook, "context_length" | "evicts"> {
  const evicts: string[] = [];
  for (;;) {
    const taken = entries.filter(({ model }) => !evicts.includes(model));
    const kv_bytes = kvRoom(estimate, taken, limits);
    if (kv_bytes !== null) return { context_length: admittedContext(estimate, kv_bytes), evicts };
    const victim = nextVictim(evicts);
    if (victim === null) return { context_length: null, evicts: [] };
    evicts.push(victim);
  }
}

function admittedContext(estimate: ModelEstimate, kv_bytes: number): number {
  const { kv_block_bytes, kv_state_bytes, rows_max } = estimate;
  const { blocks_max } = divideCache(kv_bytes, { block_bytes: kv_block_bytes, state_bytes: kv_state_bytes }, rows_max);
  return Math.min(estimate.context_length, blocks_max * estimate.kv_block_tokens);
}
