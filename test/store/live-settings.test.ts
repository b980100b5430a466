/** Settings that are changed while a server runs: all of a change is kept, or none. */

import { expect, test } from "bun:test";
import { sql } from "drizzle-orm";
import { openStore } from "../../src/store/database.ts";
import { LiveSettings } from "../../src/store/live-settings.ts";
import { StoredSettings } from "../../src/store/settings.ts";
import { failureOf, scratchFolder } from "../formats/scratch.ts";

const MEMORY_BYTES = 2 ** 33;

test("a change of which one value cannot be written changes nothing, now and after a restart", () => {
  using store = openStore(scratchFolder());
  const stored = new StoredSettings(store, () => 0);
  const live = new LiveSettings(() => [], stored, MEMORY_BYTES);
  store.tables.run(sql`
    CREATE TRIGGER full BEFORE INSERT ON settings WHEN NEW.key = 'max_models' BEGIN SELECT RAISE(ABORT, 'full'); END`);
  expect(() => live.change({ ttl_s: 7, max_models: 3 })).toThrow("full");
  expect([live.values.ttl_s, live.values.max_models]).toEqual([0, 8]);
  expect(live.reload()).toEqual([]);
  expect(new LiveSettings(() => [], stored, MEMORY_BYTES).values.ttl_s).toBe(0);
});

test("more than all of the machine's memory is refused, by the mode too, and nothing has changed", () => {
  using store = openStore(scratchFolder());
  const live = new LiveSettings(() => [], new StoredSettings(store, () => 0), MEMORY_BYTES);
  const refused = failureOf(() => live.change({ max_models: 3, memory_limit_value: 101 }));
  expect([refused.kind, refused.parameter]).toEqual(["invalid_request", "memory_limit_value"]);
  expect(refused.message).toContain("from 0.001 to 100 where memory_limit_mode is percent, found 101");
  expect(live.change({ memory_limit_mode: "gb", memory_limit_value: 101 })).toHaveLength(2);
  failureOf(() => live.change({ memory_limit_mode: "percent" }));
  expect(live.reload()).toEqual([]);
  expect([live.values.memory_limit_mode, live.values.max_models]).toEqual(["gb", 8]);
});
