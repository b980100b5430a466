/** The cap, the order of use, and a folder that others use or that fails. */

import { expect, test } from "bun:test";
import { existsSync, lstatSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BlockFiles } from "../../src/engine/block-files.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { integer, seeded } from "../random.ts";

const SCRATCH = scratchFolder();
const fresh = () => mkdtempSync(join(SCRATCH, "files-"));
const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);
const bytesIn = (folder: string) =>
  readdirSync(folder).reduce((sum, name) => {
    return sum + (lstatSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0);
  }, 0);

/** A clock that moves when it is looked at. */
function clock(): () => number {
  let now_ms = 1_700_000_000_000;
  return () => ++now_ms;
}

function read(files: BlockFiles, name: string, length: number): Uint8Array | null {
  const target = new Uint8Array(length);
  return files.read(name, target) ? target : null;
}

test("a file can be read while it waits, once it is written, and by the next process", async () => {
  const folder = fresh();
  const files = new BlockFiles(folder, 1000, clock());
  files.put("a", bytes(10, 7), 1);
  expect(read(files, "a", 10)).toEqual(bytes(10, 7));
  await files.settled();
  expect(read(files, "a", 10)).toEqual(bytes(10, 7));
  expect(read(new BlockFiles(folder, 1000, clock()), "a", 10)).toEqual(bytes(10, 7));
  expect(readdirSync(folder)).toEqual(["a"]);
});

test("a file of another length is none", async () => {
  const files = new BlockFiles(fresh(), 1000, clock());
  files.put("a", bytes(10), 1);
  await files.settled();
  expect([read(files, "a", 9), read(files, "a", 11), read(files, "b", 10)]).toEqual([null, null, null]);
});

test("the least recently used file goes first, in the next process too", async () => {
  const folder = fresh();
  const now = clock();
  const files = new BlockFiles(folder, 300, now);
  for (const name of ["a", "b", "c"]) files.put(name, bytes(100), now());
  await files.settled();
  files.touch("a", now());
  files.put("d", bytes(100), now());
  await files.settled();
  expect(readdirSync(folder).sort()).toEqual(["a", "c", "d"]);
  const next = new BlockFiles(folder, 300, now);
  next.put("e", bytes(100), now());
  await next.settled();
  expect(readdirSync(folder).sort()).toEqual(["a", "d", "e"]);
});

test("a smaller cap removes at once what is too much, and no cap at all everything", async () => {
  const folder = fresh();
  const now = clock();
  const files = new BlockFiles(folder, 300, now);
  for (const name of ["a", "b", "c"]) files.put(name, bytes(100), now());
  await files.settled();
  new BlockFiles(folder, 250, now);
  expect(readdirSync(folder).sort()).toEqual(["b", "c"]);
  expect(new BlockFiles(folder, 0, now).takes(1)).toBe(false);
  expect(readdirSync(folder)).toEqual([]);
});

test("what a killed process left half written counts, and goes when it is the oldest", async () => {
  const folder = fresh();
  writeFileSync(join(folder, "aside-left"), bytes(200));
  const files = new BlockFiles(folder, 300, Date.now);
  files.put("a", bytes(100), Date.now() + 1);
  await files.settled();
  expect(readdirSync(folder).sort()).toEqual(["a", "aside-left"]);
  files.put("b", bytes(100), Date.now() + 2);
  await files.settled();
  expect(readdirSync(folder).sort()).toEqual(["a", "b"]);
});

test("what is no file of the folder is neither read nor removed", async () => {
  const folder = fresh();
  const other = join(fresh(), "other");
  writeFileSync(other, bytes(100));
  symlinkSync(other, join(folder, "link"));
  const files = new BlockFiles(folder, 0, clock());
  expect([files.has("link"), existsSync(other)]).toEqual([false, true]);
});

test("nobody but the owner may read what is kept", async () => {
  const folder = join(fresh(), "made");
  const files = new BlockFiles(folder, 1000, clock());
  files.put("a", bytes(10), 1);
  await files.settled();
  expect([folder, join(folder, "a")].map((path) => lstatSync(path).mode & 0o077)).toEqual([0, 0]);
});

test("what waits to be written is bounded", () => {
  const files = new BlockFiles(fresh(), 2 ** 40, clock());
  const some = 2 ** 20;
  let taken = 0;
  for (; files.takes(some); taken++) files.put(String(taken), bytes(some), taken);
  expect(taken).toBe(64);
});

test("a file larger than may wait waits alone", async () => {
  const files = new BlockFiles(fresh(), 2 ** 40, clock());
  const many = 2 ** 26 + 1;
  expect(files.takes(many)).toBe(true);
  files.put("a", bytes(10), 1);
  expect([files.takes(many), files.takes(10)]).toEqual([false, true]);
  await files.settled();
});

test("a folder that fails costs what is not kept, and is tried again after a minute", async () => {
  const folder = fresh();
  let now_ms = 1_700_000_000_000;
  const files = new BlockFiles(folder, 1000, () => now_ms);
  rmSync(folder, { recursive: true });
  writeFileSync(folder, "no folder");
  files.put("a", bytes(10), 1);
  await files.settled();
  expect([files.has("a"), files.takes(10)]).toEqual([false, false]);
  rmSync(folder);
  now_ms += 61_000;
  expect(files.takes(10)).toBe(true);
  files.put("a", bytes(10), 1);
  await files.settled();
  expect(read(files, "a", 10)).toEqual(bytes(10));
});

test("a file that another process removed is none, and may be kept again", async () => {
  const folder = fresh();
  const now = clock();
  const [mine, theirs] = [new BlockFiles(folder, 1000, now), new BlockFiles(folder, 1000, now)];
  mine.put("a", bytes(10), now());
  await mine.settled();
  rmSync(join(folder, "a"));
  expect([read(mine, "a", 10), mine.has("a")]).toEqual([null, false]);
  mine.touch("a", now());
  mine.remove("a");
  theirs.remove("a");
  mine.put("a", bytes(10), now());
  await mine.settled();
  expect(read(mine, "a", 10)).toEqual(bytes(10));
});

test.each([1, 2, 3])("the cap holds at every moment under a random load of two processes (seed %d)", async (seed) => {
  const random = seeded(seed);
  const folder = fresh();
  const cap = 20_000;
  let now_ms = 1_700_000_000_000;
  // Every look comes more than a second later, so that what the other wrote is counted before each write.
  const now = () => (now_ms += 1001);
  const both = [new BlockFiles(folder, cap, now), new BlockFiles(folder, cap, now)] as const;
  for (let turn = 0; turn < 400; turn++) {
    const files = both[turn % 2 === 0 ? 0 : 1];
    const name = `block-${integer(random, 0, 60)}`;
    const length = 100 + 13 * Number(name.slice(6));
    const act = random();
    if (act < 0.6 && !files.has(name) && files.takes(length)) files.put(name, bytes(length, length % 251), now());
    else if (act < 0.8) files.touch(name, now());
    else if (act < 0.85) files.remove(name);
    const found = read(files, name, length);
    if (found !== null) expect(found).toEqual(bytes(length, length % 251));
    if (random() < 0.5) await files.settled();
    // one file may be under way in each
    expect(bytesIn(folder)).toBeLessThanOrEqual(cap + 2 * 880);
  }
  for (const files of both) await files.settled();
  expect(bytesIn(folder)).toBeLessThanOrEqual(cap + 880);
  expect(readdirSync(folder).filter((name) => name.startsWith("aside-"))).toEqual([]);
});

test.each([4, 5])("alone in its folder a process never exceeds the cap (seed %d)", async (seed) => {
  const random = seeded(seed);
  const folder = fresh();
  const files = new BlockFiles(folder, 5000, clock());
  for (let turn = 0; turn < 300; turn++) {
    const length = integer(random, 1, 2000);
    files.put(`block-${turn}`, bytes(length), turn);
    await Bun.sleep(random() < 0.2 ? 1 : 0);
    expect(bytesIn(folder)).toBeLessThanOrEqual(5000);
  }
  await files.settled();
  expect(bytesIn(folder)).toBeGreaterThan(2000);
});
