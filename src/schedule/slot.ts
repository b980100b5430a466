/** A model's place in the pool: what is known of it, and how long it may stay. Loads and evicts nothing. */

import type { LoadedModel, ModelEstimate } from "../core/backend.ts";
import type { CatalogModel } from "./catalog.ts";
import type { Account } from "./ledger.ts";
import { LoadingProgress } from "./loading.ts";

export interface ResidentModel {
  readonly model: CatalogModel;
  readonly state: "loading" | "ready" | "unloading";
  /** null until its files were read. */
  readonly purpose: ModelEstimate["purpose"] | null;
  readonly loaded: LoadedModel | null;
  readonly account: Account | null;
  readonly preloaded: boolean;
  readonly in_flight: number;
  readonly uses: number;
  /** Milliseconds since the epoch; null while it is loading. */
  readonly loaded_at_ms: number | null;
  readonly last_used_ms: number;
  /** When it is unloaded unless somebody asks for it; null: never. */
  readonly unload_at_ms: number | null;
}

/** A model that cannot be unloaded until this is disposed. */
export interface Lease extends Disposable {
  readonly loaded: LoadedModel;
}

/** Why a model stays although the limit is below what is taken. */
export interface Stay {
  readonly model: string;
  readonly reason: "preloaded" | "in use";
}

export interface Slot {
  readonly model: CatalogModel;
  readonly progress: LoadingProgress;
  readonly loading: Promise<LoadedModel>;
  /** What its files say that it will take. */
  readonly measured: Promise<ModelEstimate>;
  state: "loading" | "ready" | "unloading";
  purpose: ModelEstimate["purpose"] | null;
  loaded: LoadedModel | null;
  preloaded: boolean;
  in_flight: number;
  uses: number;
  loaded_at_ms: number | null;
  last_used_ms: number;
  /** As its last caller who said so wants it; infinite: as if it were preloaded. */
  keep_s: number | null;
}

/** Of a model that is asked for the first time, by nobody yet. */
export function newSlot(
  model: CatalogModel,
  loading: Promise<LoadedModel>,
  measured: Promise<ModelEstimate>,
  now_ms: number,
): Slot {
  return {
    model,
    progress: new LoadingProgress(),
    loading,
    measured,
    state: "loading",
    purpose: null,
    loaded: null,
    preloaded: false,
    in_flight: 0,
    uses: 0,
    loaded_at_ms: null,
    last_used_ms: now_ms,
    keep_s: null,
  };
}

/** It is never evicted. */
export function isPinned({ preloaded, keep_s }: Slot): boolean {
  return preloaded || keep_s === Number.POSITIVE_INFINITY;
}

/** Why it is still there when all that may go have gone. */
export function stayOf(slot: Slot): Stay {
  return { model: slot.model.name, reason: isPinned(slot) ? "preloaded" : "in use" };
}

/** When it is unloaded unless somebody asks for it; null: never. `ttl_s`: the owner's word, 0 is none. */
export function unloadAtMs(slot: Slot, ttl_s: number): number | null {
  const keep_ms = isPinned(slot) ? Number.POSITIVE_INFINITY : keepMs(slot, ttl_s);
  return Number.isFinite(keep_ms) ? slot.last_used_ms + keep_ms : null;
}

/** So long it stays when nobody asks for it. */
export function keepMs({ keep_s }: Slot, ttl_s: number): number {
  return (keep_s ?? (ttl_s || Number.POSITIVE_INFINITY)) * 1000;
}
