/** Bytes of a file by their place. */

import { expect, test } from "bun:test";
import { closeSync, ftruncateSync, openSync, readdirSync, symlinkSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { FileBytes } from "../../src/formats/file-bytes.ts";
import { failureOf, scratchFolder, write } from "./scratch.ts";

const FOLDER = scratchFolder();
const PATH = join(FOLDER, "x.bin");

test("read() gives fresh bytes of any part", () => {
  using file = new FileBytes(write(PATH, Uint8Array.of(0, 1, 2, 3, 4)));
  expect(file.bytes).toBe(5);
  expect([...file.read(1, 3, "part")]).toEqual([1, 2, 3]);
  expect(file.read(5, 0, "end").length).toBe(0);
  expect(file.read(1, 3, "part").buffer.byteLength).toBe(3);
});

test("read() reaches beyond 4 GiB", () => {
  const descriptor = openSync(PATH, "w");
  ftruncateSync(descriptor, 5 * 2 ** 30);
  writeSync(descriptor, Uint8Array.of(7, 8), 0, 2, 5 * 2 ** 30 - 2);
  closeSync(descriptor);
  using file = new FileBytes(PATH);
  expect([...file.read(5 * 2 ** 30 - 3, 3, "end")]).toEqual([0, 7, 8]);
});

test("read() refuses what lies outside the file", () => {
  using file = new FileBytes(write(PATH, Uint8Array.of(0, 1, 2, 3, 4)));
  for (const [offset, length] of [
    [3, 3],
    [6, 0],
    [-1, 2],
    [0, -1],
    [2 ** 60, 1],
    [0.5, 1],
    [Number.NaN, 1],
  ] as const) {
    expect(failureOf(() => file.read(offset, length, 'tensor "w"')).message).toBe(
      `Cannot read tensor "w" of "${PATH}": bytes ${offset} to ${offset + length} are outside the file of 5 bytes`,
    );
  }
});

test("read() says so when the file became shorter", () => {
  using file = new FileBytes(write(PATH, new Uint8Array(100)));
  truncateSync(PATH, 40);
  expect(failureOf(() => file.read(20, 50, 'tensor "w"')).message).toBe(
    `Cannot read tensor "w" of "${PATH}": the file ends 30 bytes too early, it became shorter while it was read`,
  );
});

test("read() refuses a part that no memory can hold", () => {
  const descriptor = openSync(PATH, "w");
  ftruncateSync(descriptor, 2 ** 42); // sparse: takes no room
  closeSync(descriptor);
  using file = new FileBytes(PATH);
  expect(failureOf(() => file.read(0, 2 ** 42, 'tensor "w"')).message).toBe(
    `Cannot read tensor "w" of "${PATH}": no memory for its 4398046511104 bytes`,
  );
});

test("opening names what stands in the way", () => {
  const message = (path: string) => failureOf(() => new FileBytes(path)).message;
  expect(message(join(FOLDER, "none"))).toEndWith('none": there is no such file or folder');
  expect(message(FOLDER)).toBe(`Cannot read "${FOLDER}": it is not a file`);
  expect(message(join(PATH, "below"))).toEndWith('below": a part of the path is not a folder');
  symlinkSync("circle", join(FOLDER, "circle"));
  expect(message(join(FOLDER, "circle"))).toEndWith('circle": its symbolic links go in a circle');
  expect(message("/dev/zero")).toBe('Cannot read "/dev/zero": it is not a file');
});

test.skipIf(process.platform !== "linux")("dispose() closes the file, and a second time is nothing", () => {
  const before = readdirSync("/proc/self/fd").length;
  const file = new FileBytes(write(PATH, "abc"));
  expect(readdirSync("/proc/self/fd").length).toBe(before + 1);
  file.dispose();
  file.dispose();
  expect(readdirSync("/proc/self/fd").length).toBe(before);
});

test("a pointer of Git LFS is refused by its name", () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1234567\n`;
  expect(failureOf(() => new FileBytes(write(PATH, pointer))).message).toBe(
    `Cannot read "${PATH}": it is a pointer of Git LFS in place of the file, which "git lfs pull" fetches`,
  );
});
