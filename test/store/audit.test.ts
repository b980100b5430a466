/** The audit: one chain, kept within its limits, and honest about what it lacks. */

import { Database } from "bun:sqlite";
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import type { AuditEntry } from "../../src/core/audit.ts";
import { StoredAudit, verifyAudit } from "../../src/store/audit.ts";
import { chained } from "../../src/store/audit-chain.ts";
import { openStore } from "../../src/store/database.ts";
import { scratchFolder } from "../formats/scratch.ts";

const FOLDER = scratchFolder();
const DAY_MS = 86_400_000;
const ANY = { model: null, backend: null, status: null, key: null, from_ms: null, to_ms: null };
const ENTRY: AuditEntry = {
  time_ms: 100 * DAY_MS,
  request_id: "req_1",
  key: null,
  endpoint: "chat",
  dialect: "openai",
  model_asked: "a",
  model_served: "b",
  backend: "cloud",
  route_reason: "rule 1",
  duration_ms: 12.25,
  first_token_ms: 3.5,
  status: "success",
  prompt_tokens: 3,
  completion_tokens: 2,
  cached_tokens: null,
  error_type: null,
  left_machine: true,
  cost: null,
  currency: null,
  steadied_lines: 0,
};

let homes = 0;
const open: Disposable[] = [];
afterEach(() => {
  for (const each of open.splice(0).reverse()) each[Symbol.dispose]();
});

function start(home = `${FOLDER}/${homes++}`, limits = { audit_days: 30, audit_bytes_max: 10 ** 8 }) {
  const store = openStore(home);
  let now_ms = 100 * DAY_MS;
  const audit = new StoredAudit(
    store,
    limits,
    () => now_ms,
    () => undefined,
  );
  open.push(store, audit);
  const write = (count: number, changes: Partial<AuditEntry> = {}) => {
    for (let index = 0; index < count; index++) audit.record({ ...ENTRY, ...changes, request_id: `req_${index}` });
    audit.flush();
  };
  return { home, store, audit, write, pass: (ms: number) => (now_ms += ms), limits };
}

const change = (home: string, sql: string) => {
  using file = new Database(join(home, "bunsen.db"));
  file.run(sql);
};

describe("the chain", () => {
  test("holds, and comes back as it was written, over restarts", () => {
    const { home, store, audit, write } = start();
    write(1200);
    expect(verifyAudit(store)).toEqual({ rows: 1200, fault: null, marks: [], open: true });
    expect(audit.page(ANY, 1, null).data).toEqual([{ ...ENTRY, request_id: "req_1199" }]);
    for (const each of open.splice(0).reverse()) each[Symbol.dispose]();
    const again = start(home);
    again.write(3);
    expect(verifyAudit(again.store)).toEqual({ rows: 1203, fault: null, marks: [], open: true });
  });

  test("has for a row of any version the hash that it was written with", () => {
    const before = { sequence: 0, hash: "" };
    expect(chained(ENTRY, before).hash).toBe("b1a9a15f4a71ccfbde6bd729557b53852e3420479f090af942e30c2fdd06c05f");
    expect(chained({ ...ENTRY, currency: "USD" }, before).hash).not.toBe(chained(ENTRY, before).hash);
  });

  for (const [what, sql, fault] of [
    ["one flipped digit", "UPDATE audit SET prompt_tokens = 4 WHERE sequence = 5", "row 5 was changed"],
    ["a status", "UPDATE audit SET status = 'error' WHERE sequence = 1", "row 1 was changed"],
    ["a row taken out", "DELETE FROM audit WHERE sequence = 7", "row 8 follows row 6: 1 are missing"],
    ["the newest rows cut off", "DELETE FROM audit WHERE sequence > 8", "the rows after 8 are missing"],
    ["the oldest rows cut off", "DELETE FROM audit WHERE sequence < 3", "row 3 follows row 0: 2 are missing"],
  ] as const) {
    test(`tells of ${what}`, () => {
      const { home, store, write } = start();
      write(10);
      change(home, sql);
      expect(verifyAudit(store).fault).toBe(fault);
    });
  }

  test("holds over rows of before steadied lines were counted, and knows when their number was changed", () => {
    const { home, store, audit, write } = start();
    write(2);
    write(1, { steadied_lines: 2 });
    audit[Symbol.dispose]();
    expect(verifyAudit(store)).toMatchObject({ rows: 3, fault: null });
    change(home, "UPDATE audit SET steadied_lines = 0 WHERE sequence = 3");
    expect(verifyAudit(store).fault).toBe("row 3 was changed");
  });

  test("says itself that a server died, and that a queue was full", () => {
    const { home, write, store } = start();
    write(2);
    // As after a kill: nothing was closed.
    const next = start(home);
    next.write(20_002);
    next.write(1);
    const { rows, fault, marks } = verifyAudit(store);
    expect([rows, fault]).toEqual([2 + 20_002 - 3 + 1, null]);
    expect(marks).toEqual([
      expect.stringMatching(/^1970-04-11T.*Z unclean_stop$/),
      expect.stringMatching(/dropped_3$/),
    ]);
  });
});

test("thousands of requests a second are written before the second is over", async () => {
  const { store, audit } = start();
  for (let round = 0; round < 60; round++) {
    for (let index = 0; index < 100; index++) audit.record(ENTRY);
    await Bun.sleep(1);
  }
  await Bun.sleep(600);
  expect(verifyAudit(store)).toMatchObject({ rows: 6000, fault: null, marks: [] });
});

describe("retention", () => {
  test("removes what is too old, and the chain holds from where it now begins", () => {
    const { store, audit, write, pass } = start();
    write(5);
    pass(20 * DAY_MS);
    write(4, { time_ms: 120 * DAY_MS });
    audit.retain();
    expect(verifyAudit(store).rows).toBe(9);
    pass(11 * DAY_MS);
    audit.retain();
    write(1, { time_ms: 131 * DAY_MS });
    expect(verifyAudit(store)).toMatchObject({ rows: 5, fault: null });
  });

  test("happens by itself at the start, then once an hour by the clock, of age and of size", async () => {
    const { home, store, write, pass, limits } = start();
    const rows = () => verifyAudit(store).rows;
    const until = async (fact: () => boolean) => {
      for (let waited_ms = 0; waited_ms < 3000 && !fact(); waited_ms += 20) await Bun.sleep(20);
      expect(fact()).toBe(true);
    };
    write(5, { time_ms: 60 * DAY_MS });
    await until(() => rows() === 0);
    write(5, { time_ms: 60 * DAY_MS });
    write(100);
    limits.audit_bytes_max = 2000;
    pass(3_599_000);
    await Bun.sleep(600);
    expect(rows()).toBe(105);
    pass(2000);
    await until(() => rows() < 20);
    expect(verifyAudit(store).fault).toBeNull();
    for (const each of open.splice(0).reverse()) each[Symbol.dispose]();
    expect(verifyAudit(start(home).store)).toMatchObject({ fault: null, open: true });
  });

  test("leaves alone what was written before the clock once went wrong", () => {
    const { store, audit, write } = start();
    write(5);
    write(1, { time_ms: 0 });
    write(2);
    audit.retain();
    expect(verifyAudit(store)).toMatchObject({ rows: 8, fault: null });
  });

  test("keeps the newest within the size", () => {
    const { store, audit, write, limits } = start();
    write(100);
    limits.audit_bytes_max = 2000;
    audit.retain();
    const { rows, fault } = verifyAudit(store);
    expect(fault).toBeNull();
    expect(rows).toBeGreaterThan(5);
    expect(rows).toBeLessThan(20);
    expect(audit.page(ANY, 1, null).data[0]?.request_id).toBe("req_99");
  });
});

describe("reading", () => {
  test("goes through pages of any size once each, and filters", () => {
    const { audit, write } = start();
    write(25);
    write(5, { status: "error", backend: "local", model_asked: "z", time_ms: 101 * DAY_MS });
    const seen: string[] = [];
    for (let cursor: number | null = null, pages = 0; pages < 9; pages++) {
      const page = audit.page(ANY, 4, cursor);
      seen.push(...page.data.map((entry) => entry.request_id));
      cursor = page.next_cursor;
      if (cursor === null) break;
    }
    expect(seen).toHaveLength(30);
    const count = (query: object) => [...audit.all({ ...ANY, ...query })].length;
    expect([count({ status: "error" }), count({ backend: "cloud" }), count({ model: "z" })]).toEqual([5, 25, 5]);
    expect([count({ from_ms: 101 * DAY_MS }), count({ to_ms: 100 * DAY_MS }), count({ key: "k" })]).toEqual([5, 25, 0]);
    expect(audit.stats(ANY)).toMatchObject({ requests: 30, prompt_tokens: 90, left_machine: 30 });
    expect(audit.stats(ANY).by_status).toContainEqual(expect.objectContaining({ name: "error", requests: 5 }));
  });

  test("follows: the last hundred, then each as it comes", () => {
    const { audit, write } = start();
    write(150);
    const heard: string[] = [];
    const stop = audit.follow((entry) => heard.push(entry.request_id));
    expect([heard.length, heard[0]]).toEqual([100, "req_50"]);
    write(2);
    stop();
    write(1);
    expect(heard.length).toBe(102);
  });
});

test("a disk that is full leaves what is written to be read, is told once, and gets the rest when it has room", () => {
  const store = openStore(`${FOLDER}/${homes++}`);
  const told: unknown[] = [];
  const audit = new StoredAudit(
    store,
    { audit_days: 30, audit_bytes_max: 10 ** 8 },
    () => 100 * DAY_MS,
    (error) => told.push(error),
  );
  open.push(store, audit);
  audit.record(ENTRY);
  audit.flush();
  store.tables.run(sql`PRAGMA max_page_count = 1`);
  for (let index = 0; index < 500; index++) audit.record(ENTRY);
  expect([audit.page(ANY, 10, null).data.length, audit.stats(ANY).requests, [...audit.all(ANY)].length]).toEqual([
    1, 1, 1,
  ]);
  expect(told).toHaveLength(1);
  store.tables.run(sql`PRAGMA max_page_count = 100000`);
  expect(audit.stats(ANY).requests).toBe(501);
  expect(verifyAudit(store)).toMatchObject({ rows: 501, fault: null });
});
