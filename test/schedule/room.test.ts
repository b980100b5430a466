/** Who gets room when there is not enough: on a host that only counts, and a clock that only the test moves. */

import { expect, test } from "bun:test";
import type { ModelEstimate } from "../../src/core/backend.ts";
import { NO_WISHES } from "../../src/core/generation.ts";
import { defaultSettings, type Settings } from "../../src/core/settings.ts";
import { ModelPool } from "../../src/schedule/pool.ts";
import type { Lease } from "../../src/schedule/slot.ts";
import { integer, seeded } from "../random.ts";

const NEVER = new AbortController().signal;
const LIMIT_BYTES = 10;

/** A model is named after the bytes it takes, as in "a4". */
class House {
  now_ms = 0;
  readonly evicted: string[] = [];
  readonly trimmed: string[] = [];
  readonly leases = new Map<string, Lease>();
  readonly pool: ModelPool;

  constructor(settings: Partial<Settings> = {}) {
    const host = {
      measure: async (path: string) => estimateOf(path),
      load: async (model: string) => {
        return { model, context_length: 32, vocabulary_size: 1, bytes_resident: estimateOf(model).weights_bytes };
      },
      unload: async (model: string) => void this.evicted.push(model),
      trimAdapters: async (model: string) => void this.trimmed.push(model),
      prepare: async () => undefined,
      forget: () => undefined,
    };
    const limit = { memory_limit_mode: "percent", memory_limit_value: 100 } as const;
    const all = { ...defaultSettings(LIMIT_BYTES), ...limit, ...settings };
    this.pool = new ModelPool(host, all, LIMIT_BYTES, () => this.now_ms);
  }

  /** Keeps the model in use until it is let go. */
  async use(name: string, signal = NEVER): Promise<void> {
    this.leases.set(name, await this.pool.acquire(modelOf(name), signal));
  }

  letGo(name: string): void {
    this.leases.get(name)?.[Symbol.dispose]();
    this.leases.delete(name);
  }

  /** Which of these are in use by now. */
  async started(...names: string[]): Promise<string[]> {
    await Bun.sleep(0);
    return names.filter((name) => this.leases.has(name));
  }
}

function modelOf(name: string) {
  return { name, path: name, changed_s: 0, bytes: 1, sampling: NO_WISHES };
}

function estimateOf(name: string): ModelEstimate {
  const kv = {
    kv_bytes_max: 0,
    kv_bytes_min: 0,
    kv_block_tokens: 32,
    kv_block_bytes: 0,
    kv_state_bytes: 0,
    kv_windows: null,
    rows_max: 1,
  };
  return { purpose: "chat", weights_bytes: Number(name.slice(1)), step_bytes: 0, context_length: 32, ...kv };
}

test("who fits passes a larger one that does not, for half a minute and not longer", async () => {
  const house = new House();
  await house.use("a6");
  void house.use("b8");
  void house.use("c2");
  expect(await house.started("b8", "c2")).toEqual(["c2"]);
  house.now_ms = 30_000;
  house.letGo("c2");
  void house.use("d2");
  expect(await house.started("b8", "d2")).toEqual([]);
  house.letGo("a6");
  expect(await house.started("b8", "d2")).toEqual(["b8", "d2"]);
});

test("a model that is always in use makes way for one that has waited for half a minute", async () => {
  const house = new House();
  await house.use("a6");
  const first = house.leases.get("a6");
  void house.use("b8");
  await house.use("a6"); // another, so that it is never idle
  first?.[Symbol.dispose]();
  expect(await house.started("b8")).toEqual([]);
  house.now_ms = 30_000;
  const second = house.leases.get("a6");
  house.leases.clear();
  void house.use("a6");
  expect(house.pool.waitOf("a6")).toEqual({ kind: "memory", position: 2, estimated_ms: 0 });
  second?.[Symbol.dispose]();
  expect(await house.started("a6", "b8")).toEqual(["b8"]);
  house.letGo("b8");
  expect(await house.started("a6")).toEqual(["a6"]);
});

test("a model that is not in the way goes on answering meanwhile", async () => {
  const house = new House();
  await house.use("a6");
  await house.use("c2");
  void house.use("b8");
  await house.started();
  house.now_ms = 30_000;
  house.letGo("c2");
  await house.use("c2");
  expect(await house.started("b8", "c2")).toEqual(["c2"]);
});

test("nobody is evicted in vain", async () => {
  const house = new House();
  await house.use("a6");
  await house.use("c2");
  house.letGo("c2");
  void house.use("b9");
  await house.started();
  expect(house.evicted).toEqual([]);
  house.letGo("a6");
  expect(await house.started("b9")).toEqual(["b9"]);
  expect(house.evicted).toEqual(["a6", "c2"]);
});

test("adapters that no request uses make room before any model does, and not in vain", async () => {
  const house = new House();
  await house.use("a4");
  await house.use("b1");
  house.letGo("b1");
  house.pool.ledger.adapt("a4", { bytes: 4, idle_bytes: 3 });
  void house.use("c6");
  expect(await house.started("c6")).toEqual([]);
  expect(house.trimmed).toEqual([]);
  await house.use("d4");
  expect(house.trimmed).toEqual(["a4"]);
  expect(house.evicted).toEqual([]);
  house.letGo("d4");
  house.pool.ledger.adapt("a4", { bytes: 1, idle_bytes: 0 });
  await house.use("e5");
  expect(house.trimmed).toEqual(["a4"]);
  expect(house.evicted).toEqual(["b1", "d4"]);
});

test("the one that was used longest ago stays where another makes enough room", async () => {
  const house = new House();
  for (const name of ["c2", "a6"]) {
    await house.use(name);
    house.letGo(name);
    house.now_ms += 1;
  }
  await house.use("b8");
  expect(house.evicted).toEqual(["a6"]);
});

test("by ttl the one that is idle longest goes, and only when its time is over", async () => {
  const house = new House({ eviction_policy: "ttl", ttl_s: 60 });
  for (const name of ["a4", "c4"]) {
    await house.use(name);
    house.letGo(name);
    house.now_ms += 10_000;
  }
  void house.use("b4");
  expect(await house.started("b4")).toEqual([]);
  house.now_ms = 60_000;
  await house.pool.sweep();
  expect(await house.started("b4")).toEqual(["b4"]);
  expect(house.evicted).toEqual(["a4"]);
});

test("a model that is loaded by its owner is not used by it: not for the least used, nor for how long a use takes", async () => {
  const house = new House();
  await house.pool.preload(modelOf("a8"));
  house.pool.keepOnly([]);
  expect(house.pool.residents().map(({ uses }) => uses)).toEqual([0]);
  await house.use("a8");
  void house.use("b8");
  await house.started();
  expect(house.pool.waitOf("b8")).toEqual({ kind: "memory", position: 1, estimated_ms: null });
});

test("who waits is told its position, and how long answers took that it waits for", async () => {
  const house = new House();
  await house.use("a8");
  house.now_ms = 400;
  house.letGo("a8");
  await house.use("a8");
  void house.use("b8");
  void house.use("c9");
  await house.started();
  expect(house.pool.waitOf("a8")).toBeNull();
  expect(house.pool.waitOf("b8")).toEqual({ kind: "memory", position: 1, estimated_ms: 400 });
  expect(house.pool.waitOf("c9")).toEqual({ kind: "memory", position: 2, estimated_ms: 800 });
});

test("who leaves gives its place in the line to the next", async () => {
  const house = new House();
  const controller = new AbortController();
  await house.use("a8");
  const left = house.use("b8", controller.signal).catch(() => "left");
  void house.use("c8");
  await house.started();
  controller.abort();
  expect(await left).toBe("left");
  await house.started();
  expect(house.pool.waitOf("c8")).toMatchObject({ position: 1 });
  expect(house.pool.waitOf("b8")).toBeNull();
});

test.each([1, 2, 3])("whoever asks is served in the end, and memory is never overdrawn (seed %d)", async (seed) => {
  const random = seeded(seed);
  const house = new House();
  const names = ["a6", "b8", "c2", "d3", "e9"];
  let served = 0;
  const client = async () => {
    for (let count = 0; count < 40; count++) {
      const name = names[integer(random, 0, names.length - 1)] ?? "a6";
      const model = { name, path: name, changed_s: 0, bytes: 1, sampling: NO_WISHES };
      using _ = await house.pool.acquire(model, NEVER);
      expect(house.pool.ledger.free_bytes).toBeGreaterThanOrEqual(0);
      house.now_ms += integer(random, 0, 2000);
      await Bun.sleep(0);
      served += 1;
    }
  };
  await Promise.all(Array.from({ length: 6 }, client));
  expect(served).toBe(240);
});
