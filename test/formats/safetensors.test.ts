/** Safetensors files and folders: read, refused, and damaged at random. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import { readSafetensors, readSafetensorsFolder, weightFiles } from "../../src/formats/safetensors.ts";
import { integer, seeded } from "../random.ts";
import { f32Entry, safetensorsBytes } from "./safetensors-bytes.ts";
import { failureOf, scratchFolder, write } from "./scratch.ts";

const FOLDER = scratchFolder();
const PATH = join(FOLDER, "x.safetensors");
const STORIES = join(import.meta.dir, "../../../shared/data/stories260K");

const SMALL = {
  __metadata__: { format: "mlx" },
  b: f32Entry(12, 2, 2),
  a: f32Entry(0, 3),
  empty: f32Entry(12, 0, 4),
  half: { dtype: "BF16", shape: [], data_offsets: [28, 30] },
};

function refusal(header: Record<string, unknown> | string, data_bytes: number, length?: bigint): string {
  write(PATH, safetensorsBytes(header, data_bytes, length));
  return failureOf(() => readSafetensors(PATH)).message.replaceAll(`"${PATH}"`, "FILE");
}

/** A folder of files, each a number of bytes of safetensors with these tensors, or a text. */
let folders = 0;
function folderOf(files: Record<string, Record<string, unknown> | string>): string {
  const folder = join(FOLDER, String(folders++));
  for (const [name, content] of Object.entries(files)) {
    const bytes = Object.keys(content).length * 4;
    write(join(folder, name), typeof content === "string" ? content : safetensorsBytes(content, bytes));
  }
  return folder;
}

function folderRefusal(files: Record<string, Record<string, unknown> | string>): string {
  const folder = folderOf(files);
  return failureOf(() => readSafetensorsFolder(folder)).message.replaceAll(folder, "FOLDER");
}

function indexOf(weight_map: unknown): string {
  return JSON.stringify({ metadata: {}, weight_map });
}

function readOrFail(what: string): "read" | "refused" {
  try {
    const bytes = Bun.file(PATH).size;
    for (const tensor of readSafetensors(PATH).values()) {
      expect(tensor.offset + tensor.bytes).toBeLessThanOrEqual(bytes);
    }
    return "read";
  } catch (error) {
    if (error instanceof Failure) return "refused";
    throw new Error(`${what}: ${error}`);
  }
}

describe("readSafetensors()", () => {
  test("gives each tensor its place in the file", () => {
    const bytes = safetensorsBytes(SMALL, 30);
    const start = bytes.length - 30;
    const tensors = readSafetensors(write(PATH, bytes));
    expect(Object.fromEntries(tensors)).toEqual({
      a: { name: "a", file: PATH, dtype: "F32", shape: [3], offset: start, bytes: 12 },
      b: { name: "b", file: PATH, dtype: "F32", shape: [2, 2], offset: start + 12, bytes: 16 },
      empty: { name: "empty", file: PATH, dtype: "F32", shape: [0, 4], offset: start + 12, bytes: 0 },
      half: { name: "half", file: PATH, dtype: "BF16", shape: [], offset: start + 28, bytes: 2 },
    });
  });

  test("takes a tensor named __proto__ as any other", () => {
    write(PATH, safetensorsBytes('{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4));
    expect([...readSafetensors(PATH).keys()]).toEqual(["__proto__"]);
  });

  test.skipIf(!existsSync(STORIES))("reads a real model", () => {
    const tensors = readSafetensorsFolder(STORIES);
    expect(tensors.get("model.embed_tokens.weight")).toMatchObject({ dtype: "F32", shape: [512, 64] });
  });
});

describe("readSafetensors() refuses", () => {
  const entry = f32Entry(0, 2);
  const cases: readonly (readonly [string, Record<string, unknown> | string, number, bigint | undefined, string])[] = [
    [
      "a header beyond the limit",
      "{}",
      0,
      2n ** 63n,
      "Cannot read FILE: its header claims 9223372036854775808 bytes, at most 16777216 are expected",
    ],
    [
      "a header beyond the file",
      "{}",
      0,
      1000n,
      "Cannot read FILE: its header needs 1008 bytes of file, the file has 10",
    ],
    [
      "a header that is not JSON",
      "{oops",
      0,
      undefined,
      "Cannot read the header of FILE: it is not JSON (Expected '}')",
    ],
    ["a header that is a list", "[]", 0, undefined, "Cannot read FILE: its header is not a JSON object"],
    [
      "an entry that is no object",
      { w: 5 },
      0,
      undefined,
      'Cannot read FILE: tensor "w" lacks a readable dtype, shape or data_offsets',
    ],
    [
      "a shape of text",
      { w: { ...entry, shape: ["2"] } },
      8,
      undefined,
      'Cannot read FILE: tensor "w" lacks a readable dtype, shape or data_offsets',
    ],
    [
      "a negative dimension",
      { w: { ...entry, shape: [-2] } },
      8,
      undefined,
      'Cannot read FILE: tensor "w" lacks a readable dtype, shape or data_offsets',
    ],
    [
      "one offset",
      { w: { ...entry, data_offsets: [0] } },
      8,
      undefined,
      'Cannot read FILE: tensor "w" lacks a readable dtype, shape or data_offsets',
    ],
    [
      "an unknown dtype",
      { w: { ...entry, dtype: "F4" } },
      8,
      undefined,
      'Cannot read FILE: tensor "w" has dtype "F4", which is not known',
    ],
    [
      "a shape that does not fit its bytes",
      { w: { ...entry, shape: [3] } },
      8,
      undefined,
      'Cannot read FILE: tensor "w" (F32, shape [3]) needs 12 bytes, its offsets 0 to 8 hold 8',
    ],
    [
      "a shape that overflows",
      { w: { ...entry, shape: [2 ** 50, 2 ** 50] } },
      8,
      undefined,
      'Cannot read FILE: tensor "w" (F32, shape [1125899906842624,1125899906842624]) needs 5.070602400912918e+30 bytes, its offsets 0 to 8 hold 8',
    ],
    [
      "offsets the wrong way round",
      { w: { ...entry, data_offsets: [8, 0] } },
      8,
      undefined,
      'Cannot read FILE: tensor "w" (F32, shape [2]) needs 8 bytes, its offsets 8 to 0 hold -8',
    ],
    [
      "a tensor beyond the end",
      { w: entry },
      7,
      undefined,
      'Cannot read FILE: tensor "w" ends at byte 70, the file at 69: it is incomplete or damaged',
    ],
    ["bytes of no tensor", { w: entry }, 9, undefined, "Cannot read FILE: its tensors end at byte 70, the file at 71"],
    [
      "tensors that overlap",
      { v: entry, w: f32Entry(4, 2) },
      12,
      undefined,
      'Cannot read FILE: tensor "w" begins at byte 120, expected 124',
    ],
    [
      "a gap",
      { v: entry, w: f32Entry(12, 2) },
      20,
      undefined,
      'Cannot read FILE: tensor "w" begins at byte 129, expected 125',
    ],
  ];
  test.each(cases)("%s", (_, header, data_bytes, length, sentence) => {
    expect(refusal(header, data_bytes, length)).toBe(sentence);
  });

  test("a header that is not UTF-8", () => {
    const bytes = safetensorsBytes('{"?":1}', 0);
    bytes[10] = 0xff;
    const failure = failureOf(() => readSafetensors(write(PATH, bytes)));
    expect(failure.message).toBe(`Cannot read the header of "${PATH}": it is not UTF-8 text`);
  });

  test("a name with line ends and terminal codes, on one clean line", () => {
    expect(refusal({ "a\n\u001b[31m\ud800": 1 }, 0)).toBe(
      'Cannot read FILE: tensor "a\ufffd\ufffd[31m\ufffd" lacks a readable dtype, shape or data_offsets',
    );
  });

  test("every length it can be cut to", () => {
    const whole = safetensorsBytes(SMALL, 30);
    for (let length = 0; length < whole.length; length++) {
      write(PATH, whole.subarray(0, length));
      expect(failureOf(() => readSafetensors(PATH)).kind).toBe("unavailable");
    }
  });

  test("or reads soundly whatever bytes are changed", () => {
    const seed = Date.now() >>> 0;
    const random = seeded(seed);
    const whole = safetensorsBytes(SMALL, 30);
    const counts = { read: 0, refused: 0 };
    const pieces = ["9", "-", "1e99", "null", "[", "]", "{", '"', ",", "\\u0000", "\ud83d"].map((text) =>
      Buffer.from(text),
    );
    for (let round = 0; round < 2000; round++) {
      const damaged = whole.slice();
      const piece = pieces[integer(random, 0, pieces.length - 1)] ?? new Uint8Array(0);
      damaged.set(round % 2 === 0 ? [integer(random, 0, 255)] : piece, integer(random, 0, damaged.length - 40));
      write(PATH, damaged);
      counts[readOrFail(`seed ${seed}, round ${round}`)]++;
    }
    expect(counts.refused).toBeGreaterThan(500);
    expect(counts.read).toBeGreaterThan(10);
  });

  test("a header of nothing but brackets", () => {
    expect(refusal("[".repeat(2 ** 20), 0)).toStartWith("Cannot read the header of FILE: it");
    expect(refusal(`${'{"w":'.repeat(2 ** 17)}1${"}".repeat(2 ** 17)}`, 0)).toStartWith("Cannot read ");
  });
});

describe("readSafetensorsFolder()", () => {
  const one = f32Entry(0, 1);

  test("follows the index and reads what it names only", () => {
    const folder = folderOf({
      "model.safetensors.index.json": indexOf({ v: "p1.safetensors", w: "p2.safetensors" }),
      "p1.safetensors": { v: one },
      "p2.safetensors": { w: one },
      "other.safetensors": { v: one },
    });
    const tensors = [...readSafetensorsFolder(folder).values()];
    expect(tensors.map(({ name, file }) => [name, file])).toEqual([
      ["v", join(folder, "p1.safetensors")],
      ["w", join(folder, "p2.safetensors")],
    ]);
    expect(weightFiles(folder)).toEqual([join(folder, "p1.safetensors"), join(folder, "p2.safetensors")]);
  });

  test("reads what the files of an index hold beyond it, once", () => {
    const two = { v: one, w: f32Entry(4, 1) };
    const index = { "model.safetensors.index.json": indexOf({ v: "p1.safetensors", x: "p2.safetensors" }) };
    const folder = folderOf({ ...index, "p1.safetensors": two, "p2.safetensors": { x: one } });
    expect([...readSafetensorsFolder(folder).keys()].sort()).toEqual(["v", "w", "x"]);
    const twice = { ...index, "p1.safetensors": two, "p2.safetensors": { x: one, w: f32Entry(4, 1) } };
    expect(folderRefusal(twice)).toBe('Cannot read "FOLDER/p2.safetensors": tensor "w" is also in "p1.safetensors"');
  });

  test("takes model.safetensors alone, else every file", () => {
    const single = folderOf({ "model.safetensors": { v: one }, "extra.safetensors": { w: one } });
    expect([...readSafetensorsFolder(single).keys()]).toEqual(["v"]);
    const several = folderOf({ "a.safetensors": { v: one }, "b.safetensors": { w: one } });
    expect([...readSafetensorsFolder(several).keys()]).toEqual(["v", "w"]);
  });

  test("refuses a tensor that two files have", () => {
    expect(folderRefusal({ "a.safetensors": { v: one }, "b.safetensors": { v: one } })).toBe(
      'Cannot read "FOLDER/b.safetensors": tensor "v" is also in "a.safetensors"',
    );
  });

  test("refuses a folder without weights and a numbered set with a gap", () => {
    expect(folderRefusal({ "config.json": "{}" })).toBe(
      'Cannot read the model in "FOLDER": it has no .safetensors file',
    );
    expect(folderRefusal({ "m-00001-of-00002.safetensors": { v: one } })).toBe(
      'Cannot read the model in "FOLDER": the other parts of the model ask for "m-00002-of-00002.safetensors", which is missing',
    );
    expect(folderRefusal({ "m-00001-of-99999.safetensors": { v: one } })).toBe(
      'Cannot read "FOLDER": the model has 99999 files, at most 1024 are read',
    );
  });

  const index_cases: readonly (readonly [what: string, index: string, sentence: string])[] = [
    ["is not JSON", "{", "Cannot read \"INDEX\": it is not JSON (Expected '}')"],
    ["has no map", "{}", 'Cannot read "INDEX": it has no "weight_map" object'],
    ["has an empty map", indexOf({}), 'Cannot read "INDEX": its "weight_map" is empty'],
    [
      "names a missing file",
      indexOf({ v: "b.safetensors" }),
      'Cannot read the model in "FOLDER": "model.safetensors.index.json" asks for "b.safetensors", which is missing',
    ],
    [
      "puts a tensor in the wrong file",
      indexOf({ v: "a.safetensors", w: "a.safetensors" }),
      'Cannot read "FOLDER/a.safetensors": tensor "w" is missing, "model.safetensors.index.json" says it is in this file',
    ],
    [
      "leaves the folder",
      indexOf({ v: "../a.safetensors" }),
      'Cannot read "INDEX": tensor "v" is in "../a.safetensors", expected a .safetensors file name',
    ],
    [
      "leaves the folder by a backslash",
      indexOf({ v: "..\\a.safetensors" }),
      'Cannot read "INDEX": tensor "v" is in "..\\a.safetensors", expected a .safetensors file name',
    ],
    [
      "names an absolute path",
      indexOf({ v: "/etc/a.safetensors" }),
      'Cannot read "INDEX": tensor "v" is in "/etc/a.safetensors", expected a .safetensors file name',
    ],
    [
      "names another kind of file",
      indexOf({ v: "config.json" }),
      'Cannot read "INDEX": tensor "v" is in "config.json", expected a .safetensors file name',
    ],
    [
      "names no file",
      indexOf({ v: ["a.safetensors"] }),
      'Cannot read "INDEX": tensor "v" is in no file, expected a .safetensors file name',
    ],
  ];
  test.each(index_cases)("refuses an index that %s", (_, index, sentence) => {
    const found = folderRefusal({ "a.safetensors": { v: one }, "model.safetensors.index.json": index });
    expect(found.replace("FOLDER/model.safetensors.index.json", "INDEX")).toBe(sentence);
  });

  test("says little of a file name as long as a page", () => {
    const name = `${"x".repeat(5000)}.safetensors`;
    const found = folderRefusal({ "a.safetensors": { v: one }, "model.safetensors.index.json": indexOf({ v: name }) });
    expect(found.length).toBeLessThan(400);
  });

  test.skipIf(!existsSync(STORIES))("reads a real header soundly or refuses it with any byte changed", () => {
    const seed = Date.now() >>> 0;
    const random = seeded(seed);
    const real = new Uint8Array(readFileSync(join(STORIES, "model.safetensors")));
    const header_bytes = Number(new DataView(real.buffer).getBigUint64(0, true));
    for (let round = 0; round < 200; round++) {
      const damaged = real.slice();
      damaged[integer(random, 0, header_bytes + 8)] = integer(random, 0, 255);
      write(PATH, damaged);
      readOrFail(`seed ${seed}, round ${round}`);
    }
  });
});
