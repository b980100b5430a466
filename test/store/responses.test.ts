/** Kept answers: found again after a restart, and gone when their time is over or there are too many. */

import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "../../src/store/database.ts";
import { StoredResponses } from "../../src/store/responses.ts";
import { failureOf } from "../formats/scratch.ts";

const SCRATCH = mkdtempSync(join(tmpdir(), "bunsen-responses-"));
afterAll(() => rmSync(SCRATCH, { recursive: true }));

const DAY_MS = 86_400_000;
const folder = () => mkdtempSync(join(SCRATCH, "home-"));
const answer = (id: string, previous_id: string | null = null, text = "x") => {
  return { id, previous_id, input: [{ role: "user", content: text }], body: { id, output: [] }, key_id: 7 };
};

function shelfIn(home: string, limits = { responses_days: 30, responses_bytes_max: 10_000 }) {
  const store = openStore(home);
  const clock = { now_ms: 1_800_000_000_000 };
  const shelf = new StoredResponses(store, limits, () => clock.now_ms);
  const rows = () => store.tables.all<{ id: string }>("SELECT id FROM responses ORDER BY id").map(({ id }) => id);
  const close = () => {
    shelf[Symbol.dispose]();
    store[Symbol.dispose]();
  };
  return { shelf, clock, rows, limits, [Symbol.dispose]: close };
}

test("an answer is there after a restart, with the talk before it, the oldest first", () => {
  const home = folder();
  {
    using before = shelfIn(home);
    before.shelf.save(answer("a"));
    before.shelf.save(answer("b", "a"));
    before.shelf.save(answer("c", "b"));
  }
  using after = shelfIn(home);
  expect(after.shelf.find("b")).toEqual(answer("b", "a"));
  expect(after.shelf.talk("c", "p").map(({ id }) => id)).toEqual(["a", "b", "c"]);
  expect(after.shelf.remove("b")).toBe(true);
  expect(after.shelf.remove("b")).toBe(false);
  expect(failureOf(() => after.shelf.talk("c", "previous_response_id"))).toMatchObject({
    kind: "not_found",
    parameter: "previous_response_id",
    message: 'Cannot go on from response "c": it went on from "b", which is not kept any more',
  });
});

test("whoever goes on from an answer keeps it, and all before it, for as long again", () => {
  using opened = shelfIn(folder());
  const { shelf, clock, rows, limits } = opened;
  shelf.save(answer("a"));
  shelf.save(answer("b", "a"));
  shelf.save(answer("alone"));
  clock.now_ms += 20 * DAY_MS;
  shelf.talk("b", "p");
  clock.now_ms += 20 * DAY_MS;
  expect(shelf.find("alone")).toBeNull();
  expect(shelf.talk("b", "p")).toHaveLength(2);
  shelf.retain();
  expect(rows()).toEqual(["a", "b"]);
  limits.responses_days = 0;
  expect(shelf.find("b")).toBeNull();
  clock.now_ms += 1;
  shelf.retain();
  expect(rows()).toBeEmpty();
});

test("beyond their size those go that were not used for longest, at once", () => {
  using opened = shelfIn(folder());
  const { shelf, clock, rows, limits } = opened;
  for (const id of ["a", "b", "c"]) {
    clock.now_ms += 1;
    shelf.save(answer(id, null, "x".repeat(3000)));
  }
  clock.now_ms += 1;
  shelf.talk("a", "p");
  clock.now_ms += 1;
  shelf.save(answer("d", null, "x".repeat(3000)));
  expect(rows()).toEqual(["a", "c", "d"]);
  limits.responses_bytes_max = 4000;
  shelf.save(answer("e"));
  expect(rows()).toEqual(["d", "e"]);
});
