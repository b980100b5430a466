/** JSON files within a limit. */

import { expect, test } from "bun:test";
import { ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { asObject, JSON_BYTES_MAX, readJson } from "../../src/formats/json.ts";
import { failureOf, scratchFolder, write } from "./scratch.ts";

const PATH = join(scratchFolder(), "x.json");

test("readJson() gives what the file says", () => {
  expect(readJson(write(PATH, '\ufeff{"a": [1, "é", null]}'))).toEqual({ a: [1, "é", null] });
});

test("readJson() refuses a file over its limit before reading it", () => {
  ftruncateSync(openSync(PATH, "w"), JSON_BYTES_MAX + 1);
  expect(failureOf(() => readJson(PATH)).message).toBe(
    `Cannot read "${PATH}": it has 67108865 bytes, at most 67108864 are read of such a file`,
  );
  write(PATH, '{"a":1}');
  expect(failureOf(() => readJson(PATH, 6)).message).toContain("it has 7 bytes, at most 6");
});

test("readJson() says why a file is no JSON", () => {
  const trouble = (content: string | Uint8Array) => failureOf(() => readJson(write(PATH, content))).message;
  expect(trouble("")).toBe(`Cannot read "${PATH}": it is not JSON (Unexpected EOF)`);
  expect(trouble("a".repeat(5000))).toContain("aaa…)");
  expect(trouble("{}{}")).toContain("it is not JSON (");
  expect(trouble(Uint8Array.of(0x22, 0xff, 0x22))).toBe(`Cannot read "${PATH}": it is not UTF-8 text`);
  expect(trouble("[".repeat(100_000))).toStartWith(`Cannot read "${PATH}": it`);
});

test("readJson() names a missing file", () => {
  expect(failureOf(() => readJson("/nowhere/x.json")).message).toBe(
    'Cannot read "/nowhere/x.json": there is no such file or folder',
  );
});

test("asObject() takes plain objects only", () => {
  const object = { a: 1 };
  expect(asObject(object)).toBe(object);
  expect([null, [], "a", 1, undefined].map(asObject)).toEqual([null, null, null, null, null]);
});
