/** Does what the owner asks of a running server: each setting that is changed has its effect from here. */

import { Failure, toRecord } from "./core/failure.ts";
import type {
  Applied,
  LedgerStatus,
  MemoryStatus,
  ModelStatus,
  OwnerDesk,
  PoolStatus,
  PreloadResult,
  QueueStatus,
} from "./core/owner.ts";
import type { ProfileStore } from "./core/profile.ts";
import {
  needsRestart,
  SETTINGS,
  type SettingGroup,
  type SettingName,
  type Settings,
  settingsOf,
} from "./core/settings.ts";
import type { Wait } from "./core/waiting.ts";
import { removalOf } from "./hub/fetched.ts";
import type { Names } from "./route/names.ts";
import type { RunningRequest, RunningRequests } from "./route/running.ts";
import type { Catalog } from "./schedule/catalog.ts";
import type { ModelPool } from "./schedule/pool.ts";
import type { RequestQueue } from "./schedule/queue.ts";
import type { ResidentModel, Stay } from "./schedule/slot.ts";
import type { LiveSettings } from "./store/live-settings.ts";
import type { EngineClient } from "./worker/client.ts";

export interface OwnerParts {
  readonly catalog: Catalog;
  readonly names: Pick<Names, "resolve">;
  /** Where the hub's models are kept. */
  readonly hub_folder: string;
  readonly pool: ModelPool;
  readonly engine: EngineClient;
  readonly queue: RequestQueue;
  readonly running: RunningRequests;
  readonly profiles: Pick<ProfileStore, "profiles">;
  readonly live: LiveSettings;
  /** What is preloaded unless a setting says otherwise. */
  readonly wanted: readonly string[];
  /** Looks for the default provider where the settings say `auto`. */
  readonly findDefault: () => Promise<unknown>;
  /** Removes from the audit what is too old or too much. */
  readonly retainAudit: () => void;
}

const GB = 1e9;

export class Owner implements OwnerDesk {
  readonly #parts: OwnerParts;

  constructor(parts: OwnerParts) {
    this.#parts = parts;
  }

  /** Loads what is to be there from the start. A model of the command line must load; a stored one may be gone. */
  async begin(): Promise<readonly PreloadResult[]> {
    if (this.#parts.live.origins.preload_models === "default") {
      for (const name of this.#parts.wanted) await this.load(name);
    }
    return await this.preload();
  }

  status(): PoolStatus {
    const { pool, catalog, live } = this.#parts;
    const memory = this.#memory();
    return {
      loaded_models: pool.residents().map(statusOf),
      total_models: catalog.models().length,
      memory,
      max_memory_gb: memory.limit_bytes / GB,
      current_memory_gb: memory.taken_bytes / GB,
      max_models: live.values.max_models,
    };
  }

  async load(name: string): Promise<ModelStatus> {
    const model = this.#parts.catalog.find(name);
    await this.#parts.pool.preload(model);
    const resident = this.#parts.pool.residents().find((resident) => resident.model.name === name);
    if (resident === undefined) throw new Failure("engine", `Cannot keep "${name}": it was unloaded meanwhile`);
    return statusOf(resident);
  }

  async unload(name: string): Promise<void> {
    await this.#parts.pool.unload(name);
  }

  async keep(asked: string, keep_s: number | null): Promise<void> {
    const { pool, catalog, names } = this.#parts;
    const model = catalog.find(names.resolve(asked).model);
    if (keep_s === 0) return await this.#letGo(model.name);
    using _ = await pool.acquire(model, new AbortController().signal, keep_s);
  }

  async #letGo(name: string): Promise<void> {
    const { pool } = this.#parts;
    if (pool.residents().some((resident) => resident.model.name === name)) await pool.unload(name);
  }

  async remove(asked: string): Promise<void> {
    const { catalog, names, hub_folder } = this.#parts;
    const { name, path } = catalog.find(names.resolve(asked).model);
    const removeFiles = await removalOf(hub_folder, name, path);
    catalog.remove(name); // first, so that nobody asks for it anew while its answers end
    await this.#letGo(name);
    await removeFiles();
  }

  progress(name: string, signal: AbortSignal): AsyncIterable<object> {
    return this.#parts.pool.progress(this.#parts.catalog.find(name).name, signal);
  }

  ledger(): LedgerStatus {
    const entries = this.#parts.pool.ledger.entries().map(({ model, ...entry }) => ({ model_id: model, ...entry }));
    return { ...this.#memory(), entries };
  }

  queue(): QueueStatus {
    const requests = this.#parts.running.list().map((request) => {
      const { came_ms, ...told } = request;
      return { ...told, waits_for: this.#waitOf(request), came_at: isoTime(came_ms) };
    });
    return { waiting: this.#parts.queue.waiting, requests };
  }

  waitOf(request_id: string): Wait | null {
    const request = this.#parts.running.list().find((request) => request.request_id === request_id);
    return request === undefined ? null : this.#waitOf(request);
  }

  #waitOf({ request_id, model, state }: RunningRequest): Wait | null {
    const { catalog, pool, queue } = this.#parts;
    if (state === "answering" || !catalog.has(model)) return null;
    const { name } = catalog.choose(model, null).model;
    return pool.waitOf(name) ?? queue.waitOf(request_id) ?? { kind: "prompt" };
  }

  cancel(request_id: string): void {
    this.#parts.running.cancel(request_id);
  }

  settings(group: SettingGroup): Partial<Settings> {
    const { values } = this.#parts.live;
    const shown = Object.fromEntries(settingsOf(group).map((name) => [name, values[name]]));
    return group === "pool" ? { ...shown, preload_models: this.#listed() } : shown;
  }

  async change(values: Partial<Settings>): Promise<Applied> {
    return await this.#apply(this.#parts.live.change(values), "preload_models" in values);
  }

  async reload(): Promise<Applied> {
    const changed = this.#parts.live.reload();
    return await this.#apply(changed, changed.includes("preload_models"));
  }

  async #apply(changed: readonly SettingName[], names_preloads: boolean): Promise<Applied> {
    const { pool, engine } = this.#parts;
    const groups = new Set(changed.map((name) => SETTINGS[name].group));
    if (groups.has("engine")) await this.#restartEngine();
    if (changed.includes("default_provider")) await this.#parts.findDefault();
    if (groups.has("audit")) this.#parts.retainAudit();
    engine.limitMemory(pool.ledger.limit_bytes);
    if (names_preloads) pool.keepOnly(this.#preloads());
    const stays = groups.has("pool") ? await pool.shrink() : [];
    pool.settingsChanged();
    return {
      changed,
      needs_restart: changed.filter(needsRestart),
      preloads: names_preloads ? await this.preload() : [],
      stays: stays.map(({ model, reason }: Stay) => ({ model_id: model, reason })),
    };
  }

  /** Answers that run end first; what was preloaded is again. */
  async #restartEngine(): Promise<void> {
    const { pool, engine } = this.#parts;
    const preloaded = pool.residents().filter(({ preloaded }) => preloaded);
    await pool.refresh(() => engine.restart());
    for (const { model } of preloaded) await pool.preload(model);
  }

  /** Of a model that a profile no longer keeps: it may be evicted unless something else does. */
  letGo(name: string): void {
    if (this.#preloads().includes(name)) return;
    const kept = this.#parts.pool.residents().filter(({ preloaded, model }) => preloaded && model.name !== name);
    this.#parts.pool.keepOnly(kept.map(({ model }) => model.name));
  }

  /** Answers that run end first. */
  async renew(name: string): Promise<void> {
    const { pool, catalog } = this.#parts;
    if (!catalog.has(name)) return;
    const { model } = catalog.choose(name, null);
    const resident = pool.residents().find((resident) => resident.model.name === model.name);
    if (resident === undefined || resident.state === "unloading") return;
    await pool.unload(model.name);
    if (resident.preloaded) await pool.preload(model);
  }

  /** Loads what is to be in memory. */
  async preload(): Promise<readonly PreloadResult[]> {
    const { pool, catalog } = this.#parts;
    const results: PreloadResult[] = [];
    for (const model_id of this.#preloads()) {
      try {
        const status = await pool.preload(catalog.find(model_id));
        results.push({ model_id, status, reason: null });
      } catch (error) {
        results.push({ model_id, status: "failed", reason: toRecord(error, "engine").message });
      }
    }
    return results;
  }

  #preloads(): readonly string[] {
    const profiled = this.#parts.profiles.profiles().filter(({ auto_load }) => auto_load);
    return [...new Set([...this.#listed(), ...profiled.map(({ model }) => model)])];
  }

  #listed(): readonly string[] {
    const { live, wanted } = this.#parts;
    return live.origins.preload_models === "default" ? wanted : live.values.preload_models;
  }

  #memory(): MemoryStatus {
    const { limit_bytes, taken_bytes, free_bytes } = this.#parts.pool.ledger;
    return { limit_bytes, taken_bytes, free_bytes, process_bytes: process.memoryUsage.rss() };
  }
}

function statusOf(resident: ResidentModel): ModelStatus {
  const {
    model,
    purpose,
    state,
    preloaded,
    in_flight,
    uses,
    loaded,
    account,
    loaded_at_ms,
    last_used_ms,
    unload_at_ms,
  } = resident;
  const size_bytes = account === null ? 0 : account.weights_bytes + account.kv_bytes;
  return {
    model_id: model.name,
    model_type: purpose,
    state,
    size_bytes,
    size_gb: size_bytes / GB,
    preloaded,
    in_flight,
    uses,
    loaded_at: loaded_at_ms === null ? null : isoTime(loaded_at_ms),
    last_used: isoTime(last_used_ms),
    expires_at: unload_at_ms === null ? null : isoTime(unload_at_ms),
    context_length: loaded?.context_length ?? null,
  };
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
