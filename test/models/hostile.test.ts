/**
 * Whole models whose files were written to do harm: each is refused with a sentence or read soundly, and nothing is
 * left behind.
 */

import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import { readGguf } from "../../src/formats/gguf.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import { arrayCounts } from "../../src/mlx/array.ts";
import { estimateModel } from "../../src/models/estimate.ts";
import { loadModel } from "../../src/models/load.ts";
import { safetensorsBytes } from "../formats/safetensors-bytes.ts";
import { failureOf, scratchFolder, write } from "../formats/scratch.ts";
import { pick } from "../native/arrays.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";
import { integer, seeded } from "../random.ts";
import { fixture, prepareFixtures } from "./fixtures.ts";

const ROUNDS = 1000;
const OUT = scratchFolder();

beforeAll(prepareFixtures, 180_000);

afterEach(() => {
  expect(arrayCounts().alive).toBe(0);
});

function copyOf(name: string, as: string): string {
  const folder = join(OUT, as);
  cpSync(fixture(name).path, folder, { recursive: true });
  return folder;
}

/** What became of a load; a refusal has to be one sentence. */
function outcome(path: string, what: string): "read" | "refused" {
  try {
    estimateModel(path, ENGINE_SETTINGS);
    loadModel(path)[Symbol.dispose]();
    return "read";
  } catch (error) {
    if (!(error instanceof Failure)) throw new Error(`${what}: ${error}`);
    expect(error.message).toMatch(/^Cannot [^\n]{1,1000}[^.\n]$/);
    return "refused";
  }
}

const WILD = [
  ...[
    0,
    -1,
    1.5,
    2 ** 31,
    2 ** 53,
    1e308,
    null,
    true,
    "4",
    "",
    [],
    [[]],
    {},
    [-1, 4],
    [4, 0],
    [0, 2 ** 52],
    [2 ** 26, 2 ** 26],
  ],
  ...["F64", "U32", "I8", "F8_E4M3", "__proto__", Array.from({ length: 9 }, () => 1)],
];

/** One tensor's entry: taken away, another's, there twice, or with a wild field. */
function spoil(header: Record<string, Record<string, unknown>>, names: readonly string[], random: () => number): void {
  const [name = "", other = ""] = [0, 0].map(() => names[integer(random, 0, names.length - 1)]);
  const field = pick(random, ["dtype", "shape", "data_offsets"]);
  const act = integer(random, 0, 5);
  const entry = header[name] ?? {};
  if (act === 0) delete header[name];
  else if (act === 1) header[name] = header[other] ?? {};
  else if (act === 2) header[`${name}.more`] = entry;
  else header[name] = { ...entry, [field]: WILD[integer(random, 0, WILD.length - 1)] };
}

test(`of ${ROUNDS} safetensors headers with wild fields none does harm`, () => {
  const seed = Date.now() >>> 0;
  console.info(`safetensors headers: seed ${seed}`);
  const random = seeded(seed);
  const folder = copyOf("affine-4-32", "wild");
  const file = join(folder, "model.safetensors");
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  const counts = { read: 0, refused: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const changed = structuredClone(header);
    for (let change = integer(random, 1, 3); change > 0; change--) spoil(changed, names, random);
    const text = JSON.stringify(changed);
    const data = safetensorsBytes(text, bytes.length - 8 - length);
    data.set(bytes.subarray(8 + length), data.length - (bytes.length - 8 - length));
    write(file, random() < 0.1 ? data.subarray(0, integer(random, 0, data.length)) : data);
    counts[outcome(folder, `seed ${seed}, round ${round}`)]++;
  }
  expect(counts.refused).toBeGreaterThan(0.8 * ROUNDS);
}, 60_000);

test(`of ${ROUNDS} GGUF headers with wild words none does harm`, () => {
  const seed = Date.now() >>> 0;
  console.info(`GGUF headers: seed ${seed}`);
  const random = seeded(seed);
  const { path } = fixture("gguf-Q4_0");
  const bytes = readFileSync(path);
  const data_start = Math.min(...[...readGguf(path).tensors.values()].map(({ offset }) => offset));
  const file = join(OUT, "wild.gguf");
  const edges = [0n, 1n, 2n, 31n, 2n ** 16n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
  const counts = { read: 0, refused: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const changed = Buffer.from(bytes);
    for (let change = integer(random, 1, 3); change > 0; change--) {
      const word = Buffer.alloc(8);
      word.writeBigUInt64LE(edges[integer(random, 0, edges.length - 1)] ?? 0n);
      word.copy(changed, integer(random, 4, data_start - 8), 0, [1, 4, 8][integer(random, 0, 2)]);
    }
    write(file, random() < 0.1 ? changed.subarray(0, integer(random, 0, changed.length)) : changed);
    counts[outcome(file, `seed ${seed}, round ${round}`)]++;
  }
  expect(counts.refused).toBeGreaterThan(0.3 * ROUNDS);
}, 60_000);

describe("a scale that is no finite number is refused with its tensor's name", () => {
  const layer = "model.layers.1.mlp.up_proj";
  test.each([
    ["affine-4-32", "scales", [0x00, 0x7e]],
    ["affine-4-32", "biases", [0x00, 0xfc]],
    ["affine-8-32", "scales", [0x00, 0x00, 0xc0, 0x7f]],
    ["mxfp4", "scales", [0xff]],
    ["mxfp8", "scales", [0xff]],
    ["nvfp4", "scales", [0x7f]],
  ])("%s: %s", (name, part, number) => {
    const folder = copyOf(name, `no-number-${name}-${part}`);
    const file = join(folder, "model.safetensors");
    const tensor = readSafetensors(file).get(`${layer}.${part}`);
    const bytes = readFileSync(file);
    bytes.set(number, tensor?.offset);
    write(file, bytes);
    const sentence = `Cannot load ${folder}: tensor "${layer}" has a scale that is no finite number`;
    expect(failureOf(() => loadModel(folder)).message).toBe(sentence);
  });

  test.each([
    ["Q4_0", 0x7e00],
    ["Q4_1", 0x7e00],
    ["Q8_0", 0x7e00],
    ["Q4_0", 0x7000], // 8,192: its offset, eight times that, is beyond half precision
    ["Q8_0", 0x6000],
  ])("GGUF: %s, %d", (type, half) => {
    const { path } = fixture(`gguf-${type}`);
    const file = join(OUT, `no-number-${type}.gguf`);
    const bytes = readFileSync(path);
    bytes.set([half & 255, half >> 8], readGguf(path).tensors.get("blk.1.ffn_up.weight")?.offset);
    write(file, bytes);
    const sentence = `Cannot load ${file}: tensor "blk.1.ffn_up.weight" has a scale that is no finite number`;
    expect(failureOf(() => loadModel(file)).message).toBe(sentence);
  });
});

describe("files that lead in circles are refused", () => {
  const index = "model.safetensors.index.json";
  const withIndex = (as: string, weight_map: object) => {
    const folder = copyOf("tied", as);
    write(join(folder, index), JSON.stringify({ weight_map }));
    return folder;
  };

  test("an index that names itself", () => {
    const folder = withIndex("itself", { "model.norm.weight": index });
    expect(failureOf(() => loadModel(folder)).message).toContain(`is in "${index}", expected a .safetensors file name`);
  });

  test("a part that is a link to a link to it", () => {
    const folder = withIndex("links", { "model.norm.weight": "a.safetensors" });
    symlinkSync("b.safetensors", join(folder, "a.safetensors"));
    symlinkSync("a.safetensors", join(folder, "b.safetensors"));
    expect(failureOf(() => loadModel(folder)).message).toContain('asks for "a.safetensors", which is missing');
  });

  test("a part that is a folder", () => {
    const folder = withIndex("folder", { "model.norm.weight": "a.safetensors" });
    mkdirSync(join(folder, "a.safetensors"));
    expect(failureOf(() => loadModel(folder)).message).toContain('asks for "a.safetensors", which is missing');
  });

  test("two parts that each say the other's tensor is theirs", () => {
    const folder = withIndex("crossed", { v: "b.safetensors", w: "a.safetensors" });
    const entry = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
    write(join(folder, "a.safetensors"), safetensorsBytes({ v: entry }, 4));
    write(join(folder, "b.safetensors"), safetensorsBytes({ w: entry }, 4));
    expect(failureOf(() => loadModel(folder)).message).toContain(`is missing, "${index}" says it is in this file`);
  });
});
