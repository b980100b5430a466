/** Which models are in memory: loads on first use, makes room by policy, unloads what is idle. Knows no engine and no tensors. */

import { assert } from "../core/assert.ts";
import type { LoadedModel, ModelEstimate } from "../core/backend.ts";
import { Failure, toRecord } from "../core/failure.ts";
import type { Outlook } from "../core/routing.ts";
import type { PoolSettings } from "../core/settings.ts";
import { unlessAborted } from "../core/unless-aborted.ts";
import type { Wait } from "../core/waiting.ts";
import type { CatalogModel } from "./catalog.ts";
import { mostDispensable } from "./eviction.ts";
import type { ModelHost } from "./host.ts";
import { type Account, Ledger } from "./ledger.ts";
import type { LoadingEvent, LoadingProgress } from "./loading.ts";
import { RecentMean } from "./recent-mean.ts";
import { foresee, kvRoom, type Limits, limitBytes, noRoom } from "./room.ts";
import { RoomLine, type RoomWaiter } from "./room-line.ts";
import type { Lease, ResidentModel, Slot, Stay } from "./slot.ts";
import { isPinned, keepMs, newSlot, stayOf, unloadAtMs } from "./slot.ts";

export class ModelPool {
  readonly ledger: Ledger;
  readonly #host: ModelHost;
  readonly #settings: PoolSettings;
  readonly #now: () => number;
  readonly #slots = new Map<string, Slot>();
  /** Of loads that failed, for whoever asks what became of them. */
  readonly #failed = new Map<string, LoadingProgress>();
  readonly #line: RoomLine;
  /** How long requests use a model. */
  readonly #used_ms = new RecentMean();
  /** Loads try for room one after another: what one evicts no other takes. */
  #turn: Promise<unknown> = Promise.resolve();
  #is_refreshing = false;
  #change = Promise.withResolvers<void>();

  /** `settings` is read when it is needed; `now` tells milliseconds since the epoch. */
  constructor(host: ModelHost, settings: PoolSettings, memory_bytes: number, now: () => number) {
    this.#host = host;
    this.#settings = settings;
    this.#now = now;
    this.#line = new RoomLine(now);
    this.ledger = new Ledger(() => limitBytes(settings, memory_bytes));
  }

  residents(): readonly ResidentModel[] {
    const { ttl_s } = this.#settings;
    return [...this.#slots.values()].map((slot) => {
      return { ...slot, account: this.#accountOf(slot), unload_at_ms: unloadAtMs(slot, ttl_s) };
    });
  }

  /** Loads and evicts nothing, but may read the headers of the model's files. */
  async outlook(model: CatalogModel): Promise<Outlook> {
    const slot = this.#slots.get(model.name);
    const { state, purpose = null, loaded = null } = slot ?? {};
    if (state === "ready" && loaded !== null && purpose !== null) {
      const { context_length, bytes_resident: bytes_weights } = loaded;
      return { resident: true, queue_length: 0, context_length, evicts: [], purpose, bytes_weights };
    }
    const estimate = await (slot?.measured ?? this.#host.measure(model.path));
    const foreseen = this.#foresee({ model: model.name, estimate }, this.#idle());
    const facts = { purpose: estimate.purpose, bytes_weights: estimate.weights_bytes };
    return { resident: false, queue_length: slot?.in_flight ?? 0, ...foreseen, ...facts };
  }

  /**
   * Loads the model if need be; all who wait for one load get it, or why it failed. `keep_s`: how long it stays when nobody
   * asks for it; infinite: for ever, 0: not at all, though preloaded; null: as it was. `asked`: by a request, which uses it.
   */
  async acquire(model: CatalogModel, signal: AbortSignal, keep_s: number | null = null, asked = true): Promise<Lease> {
    let slot = this.#present(model);
    while (slot === null) {
      await unlessAborted(this.#change.promise, signal);
      slot = this.#present(model);
    }
    const found = slot;
    found.in_flight += 1;
    if (asked) found.uses += 1;
    found.keep_s = keep_s ?? found.keep_s;
    if (keep_s === 0) found.preloaded = false;
    found.last_used_ms = this.#now();
    let begun_ms: number | null = null;
    let has_ended = false;
    const end = () => {
      if (has_ended) return;
      has_ended = true;
      found.in_flight -= 1;
      found.last_used_ms = this.#now();
      if (asked && begun_ms !== null) this.#used_ms.note(this.#now() - begun_ms);
      this.#changed();
    };
    try {
      const loaded = await unlessAborted(found.loading, signal);
      begun_ms = this.#now();
      return { loaded, [Symbol.dispose]: end };
    } catch (error) {
      end();
      throw error;
    }
  }

  /** What is told of the model's load, from its beginning. */
  progress(model: string, signal: AbortSignal): AsyncIterable<LoadingEvent> {
    const progress = this.#slots.get(model)?.progress ?? this.#failed.get(model);
    if (progress !== undefined) return progress.follow(signal);
    throw new Failure("not_found", `Cannot tell of the load of "${model}": it is not loaded and not loading`, "model");
  }

  /** What a request for the model waits for here; null: for nothing. */
  waitOf(model: string): Wait | null {
    const slot = this.#slots.get(model);
    if (slot === undefined || (slot.state === "ready" && !this.#makesWay(slot))) return null;
    const position = this.#line.position(model);
    if (position === null && slot.state === "loading") return { kind: "load", ...slot.progress.reached };
    const place = position ?? this.#line.length + 1; // its model goes first, to come again behind those who wait
    return { kind: "memory", position: place, estimated_ms: this.#used_ms.times(place) };
  }

  /** Loads the model and keeps it: it is never evicted. */
  async preload(model: CatalogModel): Promise<"loaded" | "already_loaded"> {
    const was_ready = this.#slots.get(model.name)?.state === "ready";
    using _ = await this.acquire(model, new AbortController().signal, null, false);
    this.#pin(model.name, true);
    return was_ready ? "already_loaded" : "loaded";
  }

  /** From now on these are the preloaded ones: others may be evicted. */
  keepOnly(models: readonly string[]): void {
    for (const { model } of this.#slots.values()) if (!models.includes(model.name)) this.#pin(model.name, false);
    this.#changed();
  }

  /** Waits for running answers first. */
  async unload(model: string): Promise<void> {
    const state = this.#slots.get(model)?.state ?? "unloading";
    if (state === "unloading") {
      throw new Failure("not_found", `Cannot unload "${model}": Model not loaded`, "model");
    }
    await this.#drain(model);
  }

  /** Unloads every model, with its answers ended; `act`; from then on models are loaded anew. */
  async refresh(act: () => Promise<void>): Promise<void> {
    this.#is_refreshing = true;
    try {
      await Promise.all([...this.#slots.keys()].map((model) => this.#drain(model)));
      await act();
    } finally {
      this.#is_refreshing = false;
      this.#changed();
    }
  }

  /** Brings what is taken below a lower limit, as far as that may be, and tells what stays. */
  async shrink(): Promise<readonly Stay[]> {
    if (this.#isOver()) await this.#trimAdapters();
    while (this.#isOver()) {
      // By ttl nobody might go, and the limit is the owner's word.
      const policy = { eviction_policy: this.#settings.eviction_policy === "lfu" ? "lfu" : "lru", ttl_s: 0 } as const;
      const victim = mostDispensable(this.#idle(), policy, this.#now());
      if (victim === null) break;
      await this.#remove(victim);
    }
    return this.#isOver() ? [...this.#slots.values()].map(stayOf) : [];
  }

  /** Unloads what nobody asked for in its time, which is `ttl_s` unless a caller said another. To be called now and then. */
  async sweep(): Promise<void> {
    const isOver = (slot: Slot) => this.#now() - slot.last_used_ms >= keepMs(slot, this.#settings.ttl_s);
    // Each is looked at when it is its turn: it may have been asked for, or have gone, meanwhile.
    for (const slot of this.#slots.values()) if (this.#mayGo(slot) && isOver(slot)) await this.#remove(slot);
  }

  /** Whoever waits for room looks again. */
  settingsChanged(): void {
    this.#changed();
  }

  /** null while it is being unloaded, or all are, or it has to go for another. */
  #present(model: CatalogModel): Slot | null {
    if (this.#is_refreshing) return null;
    const slot = this.#slots.get(model.name) ?? this.#begin(model);
    return slot.state === "unloading" || this.#makesWay(slot) ? null : slot;
  }

  /** Whether it takes no more requests: of a model that is always in use nobody would ever get the room. */
  #makesWay(slot: Slot): boolean {
    const { overdue } = this.#line;
    // By ttl it would have to be idle for as long as the owner says first.
    if (overdue === null || slot.state !== "ready" || this.#settings.eviction_policy === "ttl") return false;
    const going = [...this.#slots.values()].filter((other) => other.state === "ready" && !isPinned(other));
    return this.#foresee(overdue, going).evicts.includes(slot.model.name);
  }

  /** What the model would meet if these made room for it. */
  #foresee({ model, estimate }: Omit<RoomWaiter, "since_ms">, going: readonly Slot[]) {
    const others = this.ledger.trimmed().filter((entry) => entry.model !== model);
    const nextVictim = (gone: readonly string[]) => {
      const left = going.filter((slot) => !gone.includes(slot.model.name));
      const idle = left.filter(({ in_flight }) => in_flight === 0);
      return this.#victim(idle.length > 0 ? idle : left)?.model.name ?? null;
    };
    return foresee(estimate, others, this.#limits, nextVictim);
  }

  #begin(model: CatalogModel): Slot {
    const { promise: loading, resolve, reject } = Promise.withResolvers<LoadedModel>();
    loading.catch(() => undefined); // who asked may have left
    const slot = newSlot(model, loading, this.#host.measure(model.path), this.#now());
    this.#slots.set(model.name, slot);
    this.#failed.delete(model.name);
    this.#load(slot).then(resolve, reject);
    return slot;
  }

  async #load(slot: Slot): Promise<LoadedModel> {
    const { name, path } = slot.model;
    const prepared = this.#host.prepare(path); // on another thread than the weights
    prepared.catch(() => undefined); // told in its turn
    try {
      const estimate = await slot.measured;
      slot.purpose = estimate.purpose;
      const kv_bytes = await this.#makeRoom(slot, estimate);
      const bytes_total = estimate.weights_bytes;
      const tell = (bytes_done: number) => slot.progress.tell({ stage: "weights", bytes_done, bytes_total });
      tell(0);
      const loaded = await this.#host.load(name, path, kv_bytes, tell);
      this.ledger.measure(name, loaded.bytes_resident);
      slot.progress.tell({ stage: "tokenizer" });
      await prepared;
      Object.assign(slot, { loaded, state: "ready", loaded_at_ms: this.#now() });
      slot.progress.tell({ stage: "ready" });
      this.#changed();
      return loaded;
    } catch (error) {
      slot.progress.tell({ stage: "error", message: toRecord(error, "engine").message });
      this.#failed.set(name, slot.progress);
      await this.#release(slot);
      throw error;
    }
  }

  /** Reserves what the model needs, and gives the bytes its keys and values may take. */
  async #makeRoom(slot: Slot, estimate: ModelEstimate): Promise<number> {
    const waiter = this.#line.enter(slot.model.name, estimate);
    try {
      for (;;) {
        const { promise: change } = this.#change; // one that comes while it tries counts too
        const kv_bytes = await this.#inTurn(() => this.#tryRoom(waiter));
        if (kv_bytes !== null) return kv_bytes;
        if (this.#settings.contention !== "wait" || !this.#mayMakeRoom(slot, estimate)) {
          throw noRoom(slot.model.name, estimate, this.#staying(), this.#limits);
        }
        await change;
        if (slot.in_flight > 0) continue;
        throw new Failure("cancelled", `Cannot load "${slot.model.name}": nobody waits for it`);
      }
    } finally {
      this.#line.leave(waiter);
      this.#changed();
    }
  }

  /** null: it has to wait. Nobody is evicted in vain. */
  async #tryRoom(waiter: RoomWaiter): Promise<number | null> {
    if (this.#settings.contention === "wait" && !this.#line.mayGo(waiter)) return null;
    for (;;) {
      const kv_bytes = this.#reserve(waiter);
      if (kv_bytes !== null) return kv_bytes;
      const { context_length, evicts } = this.#foresee(waiter, this.#idle());
      if (context_length === null) return null;
      if (await this.#trimAdapters()) continue;
      const victim = this.#slots.get(evicts[0] ?? "");
      if (victim === undefined) return null;
      await this.#remove(victim);
    }
  }

  /** null: it does not fit. */
  #reserve({ model, estimate }: RoomWaiter): number | null {
    const kv_bytes = kvRoom(estimate, this.ledger.entries(), this.#limits);
    if (kv_bytes === null) return null;
    const { weights_bytes, step_bytes } = estimate;
    const missing = this.ledger.reserve(model, { weights_bytes, kv_bytes, step_bytes });
    assert(missing === 0, "what fits is reserved");
    return kv_bytes;
  }

  /** Which of these goes next to make room for another; null: none may. */
  #victim(going: readonly Slot[]): Slot | null {
    if (this.#settings.contention === "fail") return null;
    return mostDispensable(going, this.#settings, this.#now());
  }

  get #limits(): Limits {
    return { limit_bytes: this.ledger.limit_bytes, models_max: this.#settings.max_models };
  }

  /** Whether it would fit once all that may go ever had gone. */
  #mayMakeRoom(slot: Slot, estimate: ModelEstimate): boolean {
    const pinned = [...this.#slots.values()].filter((other) => other !== slot && isPinned(other));
    const kept = this.ledger.trimmed().filter((entry) => pinned.some(({ model }) => model.name === entry.model));
    return kvRoom(estimate, kept, this.#limits) !== null;
  }

  /** What would be left when all had gone that may go now. */
  #staying(): readonly Account[] {
    const gone = new Set<string>();
    for (;;) {
      const left = this.#idle().filter(({ model }) => !gone.has(model.name));
      const victim = this.#victim(left);
      if (victim === null) return this.ledger.trimmed().filter(({ model }) => !gone.has(model));
      gone.add(victim.model.name);
    }
  }

  /** What may be evicted. */
  #idle(): Slot[] {
    return [...this.#slots.values()].filter((slot) => this.#mayGo(slot));
  }

  #mayGo(slot: Slot): boolean {
    return slot.state === "ready" && slot.in_flight === 0 && !isPinned(slot);
  }

  /** Whether any of them took something; nobody misses what nobody uses. */
  async #trimAdapters(): Promise<boolean> {
    const idle = this.ledger.entries().filter(({ adapters_bytes_idle }) => adapters_bytes_idle > 0);
    for (const { model } of idle) {
      await this.#host.trimAdapters(model);
      this.ledger.trim(model);
    }
    return idle.length > 0;
  }

  async #drain(model: string): Promise<void> {
    const slot = this.#slots.get(model);
    await slot?.loading.catch(() => undefined);
    if (slot !== undefined && this.#slots.get(model) === slot && slot.state === "ready") await this.#remove(slot);
  }

  #isOver(): boolean {
    return this.ledger.free_bytes < 0 || this.ledger.entries().length > this.#settings.max_models;
  }

  async #remove(slot: Slot): Promise<void> {
    slot.state = "unloading";
    while (slot.in_flight > 0) await this.#change.promise;
    await this.#release(slot);
  }

  async #release(slot: Slot): Promise<void> {
    const { name, path } = slot.model;
    slot.state = "unloading";
    try {
      await this.#host.unload(name);
      this.#host.forget(path);
    } finally {
      this.ledger.release(name);
      if (this.#slots.get(name) === slot) this.#slots.delete(name);
      this.#changed();
    }
  }

  #pin(model: string, preloaded: boolean): void {
    const slot = this.#slots.get(model);
    if (slot !== undefined) slot.preloaded = preloaded;
  }

  #accountOf({ model }: Slot): Account | null {
    return this.ledger.entries().find((entry) => entry.model === model.name) ?? null;
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  async #inTurn<Value>(act: () => Promise<Value>): Promise<Value> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => undefined);
    return await done;
  }
}
