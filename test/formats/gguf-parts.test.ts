/** GGUF models in parts: read as one, or refused with the part that is wrong. */

import { expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { basename, join } from "node:path";
import { readGgufModel } from "../../src/formats/gguf-parts.ts";
import { ggufBytes, joined, u32, value } from "./gguf-bytes.ts";
import { failureOf, scratchFolder, write } from "./scratch.ts";

const FOLDER = scratchFolder();
const F32 = 0;

interface Part {
  readonly index?: number;
  readonly count?: number;
  readonly tensors?: readonly string[];
  readonly total?: number;
}

const u16 = (number: number) => joined(u32(2), new Uint8Array(new Uint16Array([number]).buffer));
const i32 = (number: number) => joined(u32(5), u32(number));

/** Writes these parts; null: it is not there. Gives the path of the first. */
function parts(...given: readonly (Part | null)[]): string {
  const folder = mkdtempSync(join(FOLDER, "parts-"));
  const five = (number: number) => String(number).padStart(5, "0");
  const paths = given.map((part, place) => {
    const path = join(folder, `m-${five(place + 1)}-of-${five(given.length)}.gguf`);
    if (part === null) return path;
    const { index = place, count = given.length, tensors = [`t${place}`], total = given.length } = part;
    const bytes = ggufBytes({
      metadata: [
        ["split.no", u16(index)],
        ["split.count", u16(count)],
        ["split.tensors.count", i32(total)],
        ...(place === 0 ? [["general.architecture", value.string("llama")] as const] : []),
      ],
      tensors: tensors.map((name, number) => ({ name, dimensions: [8], type: F32, offset: 32 * number })),
      data: new Uint8Array(32 * tensors.length),
    });
    return write(path, bytes);
  });
  return paths[0] ?? "";
}

function refusal(path: string): string {
  return failureOf(() => readGgufModel(path)).message.replaceAll(/"[^"]*\/(m-[^"/]*)"/g, '"$1"');
}

test("a model in parts has the metadata of the first and the tensors of all, each in its file", () => {
  const { metadata, tensors, path } = readGgufModel(
    parts({ tensors: [] }, { tensors: ["a", "b"] }, { tensors: ["c"] }),
  );
  expect(metadata.get("general.architecture")).toBe("llama");
  expect(path).toEndWith("/m-00001-of-00003.gguf");
  expect([...tensors.values()].map(({ name, file }) => [name, basename(file)])).toEqual([
    ["a", "m-00002-of-00003.gguf"],
    ["b", "m-00002-of-00003.gguf"],
    ["c", "m-00003-of-00003.gguf"],
  ]);
});

const WRONG: readonly (readonly [what: string, path: () => string, sentence: string])[] = [
  [
    "a missing part",
    () => parts({}, null, {}),
    'Cannot read "m-00001-of-00003.gguf": its part "m-00002-of-00003.gguf" is missing',
  ],
  [
    "a later part named first",
    () => parts({}, {}).replace("-00001-", "-00002-"),
    'Cannot read "m-00002-of-00002.gguf": it is part 2 of 2, to be named is the first',
  ],
  [
    "a count that the names do not have",
    () => parts({ count: 3 }, {}),
    'Cannot read "m-00001-of-00002.gguf": it is the first of 3 parts, whose names must end as in "-00001-of-00003.gguf"',
  ],
  [
    "a part of another model",
    () => parts({}, { count: 3 }),
    'Cannot read "m-00002-of-00002.gguf": it says that it is part 2 of 3, expected part 2 of 2',
  ],
  [
    "parts that changed places",
    () => parts({}, { index: 2 }, { index: 1 }),
    'Cannot read "m-00002-of-00003.gguf": it says that it is part 3 of 3, expected part 2 of 3',
  ],
  [
    "a tensor in two parts",
    () => parts({ tensors: ["a"] }, { tensors: ["a"] }),
    'Cannot read "m-00002-of-00002.gguf": tensor "a" is also in "m-00001-of-00002.gguf"',
  ],
  [
    "fewer tensors than were written",
    () => parts({ total: 5 }, {}),
    'Cannot read "m-00001-of-00002.gguf": it says that all parts have 5 tensors, found 2',
  ],
  [
    "a count that is none",
    () => parts({ count: 0, index: 7 }),
    'Cannot read "m-00001-of-00001.gguf": it has split.no 7 and split.count 0, expected a number below a count of at most 1024',
  ],
  [
    "more parts than any model has",
    () => parts({ count: 60_000 }),
    'Cannot read "m-00001-of-00001.gguf": it has split.no 0 and split.count 60000, expected a number below a count of at most 1024',
  ],
];

test.each(WRONG)("%s is refused", (_, path, sentence) => {
  expect(refusal(path())).toBe(sentence);
});
