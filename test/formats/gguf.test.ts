/** GGUF files: read, refused, and damaged at random. */

import { describe, expect, test } from "bun:test";
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import { type GgufFile, readGguf } from "../../src/formats/gguf.ts";
import { integer, seeded } from "../random.ts";
import { type GgufFields, ggufBytes, joined, string, type TensorFields, u32, u64, value } from "./gguf-bytes.ts";
import { failureOf, scratchFolder, write } from "./scratch.ts";

const FOLDER = scratchFolder();
const PATH = join(FOLDER, "x.gguf");
const DEFAULT_MODEL = join(import.meta.dir, "../../build/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");

const Q4_1 = 3;
const F32 = 0;
const SMALL: GgufFields = {
  metadata: [
    ["general.architecture", value.string("llama")],
    ["count", value.u32(7)],
    ["flag", value.bool(1)],
    ["words", value.array(8, 3, string("a"), string("é"), string(""))],
    ["numbers", value.array(5, 2, u32(1), u32(0xffffffff))],
  ],
  tensors: [
    { name: "a.weight", dimensions: [64, 3], type: Q4_1, offset: 0 },
    { name: "b.weight", dimensions: [5], type: F32, offset: 128 },
  ],
  data: new Uint8Array(148),
};

function read(fields: GgufFields): GgufFile {
  return readGguf(write(PATH, ggufBytes(fields)));
}

function refusal(fields: GgufFields): string {
  return failureOf(() => read(fields)).message.replace(`"${PATH}"`, "FILE");
}

function withTensors(...tensors: TensorFields[]): GgufFields {
  return { tensors, data: new Uint8Array(148) };
}

/** What every accepted file owes its reader. */
function expectSound(gguf: GgufFile, file_bytes: number): void {
  let end = 0;
  for (const tensor of [...gguf.tensors.values()].sort((a, b) => a.offset - b.offset)) {
    expect(tensor.offset).toBeGreaterThanOrEqual(end);
    expect(tensor.bytes).toBeGreaterThan(0);
    end = tensor.offset + tensor.bytes;
  }
  expect(end).toBeLessThanOrEqual(file_bytes);
}

function readOrFail(path: string, file_bytes: number, what: string): "read" | "refused" {
  try {
    expectSound(readGguf(path), file_bytes);
    return "read";
  } catch (error) {
    if (error instanceof Failure) return "refused";
    throw new Error(`${what}: ${error}`);
  }
}

describe("readGguf()", () => {
  test("reads metadata and tensors, dimensions the other way round", () => {
    const gguf = read(SMALL);
    expect(Object.fromEntries(gguf.metadata)).toEqual({
      "general.architecture": "llama",
      count: 7,
      flag: true,
      words: ["a", "é", ""],
      numbers: [1, -1],
    });
    const start = gguf.tensors.get("a.weight")?.offset ?? 0;
    expect(start % 32).toBe(0);
    expect([...gguf.tensors.values()]).toEqual([
      { name: "a.weight", file: gguf.path, shape: [3, 64], type: "Q4_1", offset: start, bytes: 120 },
      { name: "b.weight", file: gguf.path, shape: [5], type: "F32", offset: start + 128, bytes: 20 },
    ]);
  });

  test("reads version 2 as version 3", () => {
    expect(read({ ...SMALL, version: 2 })).toEqual(read(SMALL));
  });

  test("gives 64-bit integers as numbers while they are exact", () => {
    const big = 2n ** 53n;
    const metadata = [
      ["safe", value.u64(big - 1n)],
      ["large", value.u64(2n ** 64n - 1n)],
      ["negative", value.i64(-5n)],
      ["low", value.i64(-big)],
    ] as const;
    expect(Array.from(read({ metadata }).metadata, ([, each]) => each)).toEqual([
      2 ** 53 - 1,
      2n ** 64n - 1n,
      -5,
      -big,
    ]);
  });

  test("follows general.alignment", () => {
    const metadata = [["general.alignment", value.u32(256)]] as const;
    const gguf = read({
      ...SMALL,
      metadata,
      alignment: 256,
      data: new Uint8Array(276),
      tensors: [
        { name: "a.weight", dimensions: [64, 3], type: Q4_1, offset: 0 },
        { name: "b.weight", dimensions: [5], type: F32, offset: 256 },
      ],
    });
    expect([...gguf.tensors.values()].map((tensor) => tensor.offset % 256)).toEqual([0, 0]);
  });

  test("reads a vocabulary without tensors", () => {
    expect(read({ metadata: [["k", value.u8(1)]] }).tensors.size).toBe(0);
  });

  test("keeps the bytes of a string that are not UTF-8 as lone surrogates", () => {
    const odd = Uint8Array.of(0x61, 0xff, 0xc3, 0xa9, 0xed, 0xa0, 0x80, 0xf0, 0x9f, 0x98, 0x80, 0xc0, 0x80, 0xe2, 0x82);
    const text = read({ metadata: [["odd", value.string(odd)]] }).metadata.get("odd");
    expect(text).toBe("a\udcffé\udced\udca0\udc80😀\udcc0\udc80\udce2\udc82");
  });

  test("keeps a real U+FFFD", () => {
    expect(read({ metadata: [["mark", value.string("a\ufffdb")]] }).metadata.get("mark")).toBe("a\ufffdb");
  });

  test("decodes random bytes as Python's surrogateescape would give them back", () => {
    const seed = Date.now() >>> 0;
    const random = seeded(seed);
    for (let round = 0; round < 200; round++) {
      const pool =
        round % 2 === 0
          ? () => integer(random, 0, 255)
          : () => [0x41, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0xed, 0xf4][integer(random, 0, 11)] ?? 0;
      const bytes = Uint8Array.from({ length: integer(random, 0, 30) }, pool);
      const text = String(read({ metadata: [["t", value.string(bytes)]] }).metadata.get("t"));
      const back = [...text].flatMap((character) => {
        const code = character.codePointAt(0) ?? 0;
        return code >= 0xdc80 && code <= 0xdcff ? [code - 0xdc00] : [...new TextEncoder().encode(character)];
      });
      expect({ seed, round, bytes: back }).toEqual({ seed, round, bytes: [...bytes] });
    }
  });
});

describe("readGguf() refuses", () => {
  const cases: readonly (readonly [what: string, fields: GgufFields, sentence: string])[] = [
    [
      "another format",
      { magic: "PK\u0003\u0004" },
      'Cannot read FILE: it is not a GGUF file: it begins with bytes 504b0304, expected 47475546 ("GGUF")',
    ],
    ["version 1", { version: 1 }, "Cannot read FILE: it is a GGUF file of version 1, expected version 2 or 3"],
    [
      "a big-endian file",
      { version: 0x03000000 },
      "Cannot read FILE: it is a big-endian GGUF file of version 3, expected a little-endian one",
    ],
    [
      "too many tensors",
      { tensor_count: 2n ** 63n },
      "Cannot read FILE: the number of tensors is 9223372036854775808, at most 65536 can be read",
    ],
    [
      "too many keys",
      { metadata_count: 2n ** 32n },
      "Cannot read FILE: the number of metadata keys is 4294967296, at most 65536 can be read",
    ],
    [
      "more keys than there are",
      { metadata_count: 9n },
      "Cannot read FILE: the name of metadata key 1 of 9 needs 32 bytes of file, the file has 24",
    ],
    [
      "a string longer than the file",
      { metadata: [["k", joined(u32(8), u64(2n ** 64n - 1n))]] },
      'Cannot read FILE: metadata key "k" needs 18446744073709552000 bytes of file, the file has 45',
    ],
    [
      "an array longer than the file",
      { metadata: [["k", value.array(0, 1000)]] },
      'Cannot read FILE: metadata key "k" needs 1049 bytes of file, the file has 49',
    ],
    [
      "an array beyond the limit",
      { metadata: [["k", value.array(0, 2n ** 40n)]] },
      'Cannot read FILE: the length of metadata key "k" is 1099511627776, at most 4000000 can be read',
    ],
    [
      "an array of arrays",
      { metadata: [["k", value.array(9, 1)]] },
      'Cannot read FILE: metadata key "k" is an array of arrays',
    ],
    [
      "an unknown value type",
      { metadata: [["k", u32(13)]] },
      'Cannot read FILE: metadata key "k" has value type 13, expected 0 to 12',
    ],
    [
      "a bool of 2",
      { metadata: [["k", value.bool(2)]] },
      'Cannot read FILE: metadata key "k" holds a bool of value 2, expected 0 or 1',
    ],
    [
      "a key twice",
      {
        metadata: [
          ["k", value.u8(1)],
          ["k", value.u8(2)],
        ],
      },
      'Cannot read FILE: metadata key "k" occurs twice',
    ],
    [
      "a key that is not text",
      { metadata: [[Uint8Array.of(0xff), value.u8(1)]] },
      "Cannot read FILE: the name of metadata key 1 of 1 is not UTF-8",
    ],
    [
      "an alignment of 0",
      { metadata: [["general.alignment", value.u32(0)]] },
      'Cannot read FILE: metadata key "general.alignment" is 0, expected a power of two',
    ],
    [
      "an alignment of 48",
      { metadata: [["general.alignment", value.u32(48)]] },
      'Cannot read FILE: metadata key "general.alignment" is 48, expected a power of two',
    ],
    [
      "a tensor twice",
      withTensors(...["w", "w"].map((name) => ({ name, dimensions: [1], type: F32, offset: 0 }))),
      'Cannot read FILE: tensor "w" occurs twice',
    ],
    [
      "an unknown tensor type",
      withTensors({ name: "w", dimensions: [32], type: 77, offset: 0 }),
      'Cannot read FILE: tensor "w" has type number 77, which is not known',
    ],
    [
      "five dimensions",
      withTensors({ name: "w", dimensions: [1, 1, 1, 1, 1], type: F32, offset: 0 }),
      'Cannot read FILE: tensor "w" has 5 dimensions, expected at most 4',
    ],
    [
      "a dimension of 0",
      withTensors({ name: "w", dimensions: [0], type: F32, offset: 0 }),
      'Cannot read FILE: tensor "w" has a dimension of 0, expected at least 1',
    ],
    [
      "dimensions that overflow",
      withTensors({ name: "w", dimensions: [2n ** 32n, 2n ** 32n], type: F32, offset: 0 }),
      'Cannot read FILE: tensor "w" has more elements than any file can hold',
    ],
    [
      "a row that is no whole block",
      withTensors({ name: "w", dimensions: [48, 2], type: Q4_1, offset: 0 }),
      'Cannot read FILE: tensor "w" has rows of 48 elements, expected a multiple of 32 for Q4_1',
    ],
    [
      "an offset off the alignment",
      withTensors({ name: "w", dimensions: [1], type: F32, offset: 4 }),
      'Cannot read FILE: tensor "w" lies at offset 4, expected a multiple of the alignment 32',
    ],
    [
      "an offset that overflows",
      withTensors({ name: "w", dimensions: [1], type: F32, offset: 2n ** 64n - 32n }),
      'Cannot read FILE: tensor "w" lies at offset 18446744073709551584, which is outside any file',
    ],
    [
      "a tensor beyond the end",
      withTensors({ name: "w", dimensions: [38], type: F32, offset: 0 }),
      'Cannot read FILE: tensor "w" takes bytes 64 to 216, the file ends at 212: it is incomplete or damaged',
    ],
    [
      "tensors that overlap",
      withTensors(
        { name: "v", dimensions: [16], type: F32, offset: 0 },
        { name: "w", dimensions: [4], type: F32, offset: 32 },
      ),
      'Cannot read FILE: tensors "v" and "w" overlap',
    ],
  ];
  test.each(cases)("%s", (_, fields, sentence) => expect(refusal(fields)).toBe(sentence));

  test("a missing file, a folder and an empty file", () => {
    expect(failureOf(() => readGguf(join(FOLDER, "none.gguf"))).message).toContain("there is no such file or folder");
    expect(failureOf(() => readGguf(FOLDER)).message).toContain("it is not a file");
    expect(failureOf(() => readGguf(write(PATH, ""))).message).toContain(
      "the GGUF mark needs 4 bytes of file, the file has 0",
    );
    expect(failureOf(() => readGguf("a\0b")).kind).toBe("unavailable");
  });

  test("a header beyond its limit without reading it all", () => {
    const file = openSync(PATH, "w");
    writeSync(file, ggufBytes({ metadata: [["k", joined(u32(8), u64(2 ** 33))]] }));
    ftruncateSync(file, 2 ** 34); // sparse: takes no room
    closeSync(file);
    const failure = failureOf(() => readGguf(PATH));
    expect(failure.kind).toBe("unsupported");
    expect(failure.message).toContain("the most a header may take");
  });
});

describe("a damaged GGUF file", () => {
  test("is refused at every length it can be cut to", () => {
    const whole = ggufBytes(SMALL);
    for (let length = 0; length < whole.length; length++) {
      const failure = failureOf(() => readGguf(write(PATH, whole.subarray(0, length))));
      expect(failure.kind).toBe("unavailable");
    }
    readGguf(write(PATH, whole));
  });

  test("is read soundly or refused with any byte changed", () => {
    const whole = ggufBytes(SMALL);
    const counts = { read: 0, refused: 0 };
    for (let at = 0; at < whole.length - 148; at++) {
      for (const change of [0x01, 0x20, 0x80, 0xff]) {
        const damaged = whole.slice();
        damaged[at] = (damaged[at] ?? 0) ^ change;
        counts[readOrFail(write(PATH, damaged), whole.length, `byte ${at} ^ ${change}`)]++;
      }
    }
    expect(counts.read).toBeGreaterThan(50);
    expect(counts.refused).toBeGreaterThan(50);
  });

  test("is read soundly or refused with random words in it, and takes little memory", () => {
    const seed = Date.now() >>> 0;
    const random = seeded(seed);
    const whole = ggufBytes(SMALL);
    const edges = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, 3_999_999n];
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    for (let round = 0; round < 1500; round++) {
      const damaged = whole.slice();
      for (let change = integer(random, 1, 3); change > 0; change--) {
        const word = u64(edges[integer(random, 0, edges.length - 1)] ?? 0n).subarray(0, integer(random, 1, 8));
        damaged.set(word, integer(random, 4, damaged.length - 8));
      }
      readOrFail(write(PATH, damaged), whole.length, `seed ${seed}, round ${round}`);
    }
    expect({ seed, grown: process.memoryUsage().rss - before < 200 * 2 ** 20 }).toEqual({ seed, grown: true });
  }, 30_000);

  test.skipIf(!existsSync(DEFAULT_MODEL))(
    "of real size is read soundly or refused",
    () => {
      const seed = Date.now() >>> 0;
      const random = seeded(seed);
      const data_start = Math.min(...[...readGguf(DEFAULT_MODEL).tensors.values()].map((tensor) => tensor.offset));
      const file_bytes = Bun.file(DEFAULT_MODEL).size;
      const header = readFileSync(DEFAULT_MODEL).subarray(0, data_start);
      const file = openSync(PATH, "w");
      writeSync(file, header);
      ftruncateSync(file, file_bytes);
      const places = [() => integer(random, 0, 1500), () => integer(random, data_start - 20_000, data_start - 8)];
      for (let round = 0; round < 30; round++) {
        const at = places[round % 2]?.() ?? 0;
        const change = Uint8Array.from({ length: integer(random, 1, 8) }, () => integer(random, 0, 255));
        writeSync(file, change, 0, change.length, at);
        readOrFail(PATH, file_bytes, `seed ${seed}, round ${round}`);
        writeSync(file, header, at, change.length, at);
      }
      closeSync(file);
    },
    30_000,
  );
});

describe("the default model", () => {
  test.skipIf(!existsSync(DEFAULT_MODEL))("is read", () => {
    expect(readGguf(DEFAULT_MODEL).tensors.size).toBe(272);
  });
});
