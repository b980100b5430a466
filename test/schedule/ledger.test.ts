/** The ledger: never more than the limit by its own doing, and exact about what is missing. */

import { describe, expect, test } from "bun:test";
import { type Account, Ledger } from "../../src/schedule/ledger.ts";
import { seeded } from "../random.ts";

const account = (weights_bytes: number, kv_bytes = 0, step_bytes = 0): Account => ({
  weights_bytes,
  kv_bytes,
  step_bytes,
});

describe("a reservation", () => {
  test("that does not fit takes nothing and tells the bytes that are missing", () => {
    const ledger = new Ledger(() => 100);
    expect(ledger.reserve("a", account(60, 20))).toBe(0);
    expect(ledger.reserve("b", account(20, 5))).toBe(5);
    expect(ledger.taken_bytes).toBe(80);
    expect(ledger.reserve("b", account(15, 5))).toBe(0);
    expect(ledger.free_bytes).toBe(0);
  });

  test("of a step counts once: only the largest of all models", () => {
    const ledger = new Ledger(() => 100);
    expect(ledger.reserve("a", account(10, 0, 30))).toBe(0);
    expect(ledger.reserve("b", account(10, 0, 40))).toBe(0);
    expect(ledger.taken_bytes).toBe(60);
  });
});

test("what was measured takes the place of what was estimated, and the estimate is kept", () => {
  const ledger = new Ledger(() => 100);
  ledger.reserve("a", account(50, 10));
  ledger.measure("a", 55);
  expect(ledger.taken_bytes).toBe(65);
  expect(ledger.entries()).toMatchObject([
    { model: "a", weights_bytes: 55, weights_bytes_estimated: 50, is_measured: true, kv_bytes: 10, step_bytes: 0 },
  ]);
});

test("adapters count with their model, may take what is free, and go with it", () => {
  const ledger = new Ledger(() => 100);
  ledger.reserve("a", account(50, 10));
  expect(ledger.adapterRoom("a")).toBe(40);
  ledger.adapt("a", { bytes: 30, idle_bytes: 10 });
  expect(ledger.taken_bytes).toBe(90);
  expect(ledger.trimmed()).toMatchObject([{ weights_bytes: 50, adapters_bytes: 20 }]);
  expect(ledger.adapterRoom("a")).toBe(40);
  expect(ledger.reserve("b", account(20))).toBe(10);
  ledger.release("a");
  ledger.adapt("a", { bytes: 30, idle_bytes: 0 });
  expect(ledger.taken_bytes).toBe(0);
});

test("a lowered limit leaves what is there, and nothing more is taken", () => {
  let limit = 100;
  const ledger = new Ledger(() => limit);
  ledger.reserve("a", account(80));
  limit = 50;
  expect(ledger.free_bytes).toBe(-30);
  expect(ledger.reserve("b", account(1))).toBe(31);
});

test("whatever is reserved and released, what is taken fits, and a release gives back all of it", () => {
  const seed = Date.now() % 1e6;
  const random = seeded(seed);
  const upTo = (most: number) => Math.floor(random() * most);
  const limit = 1000;
  const ledger = new Ledger(() => limit);
  const there = new Map<string, Account>();
  for (let round = 0; round < 2000; round++) {
    const model = `m${upTo(8)}`;
    const known = there.has(model);
    if (known) {
      ledger.release(model);
      there.delete(model);
    } else {
      const wanted = account(upTo(400), upTo(200), upTo(100));
      const missing = ledger.reserve(model, wanted);
      if (missing === 0) there.set(model, wanted);
      else expect(new Ledger(() => limit + missing).free_bytes - missing).toBeGreaterThanOrEqual(0);
    }
    const sum = [...there.values()].reduce((total, { weights_bytes, kv_bytes }) => total + weights_bytes + kv_bytes, 0);
    const step = Math.max(0, ...[...there.values()].map(({ step_bytes }) => step_bytes));
    expect({ seed, round, taken: ledger.taken_bytes }).toEqual({ seed, round, taken: sum + step });
    expect(ledger.taken_bytes).toBeLessThanOrEqual(limit);
  }
});
