/** Blocks of GGUF as MLX's groups, number by number. */

import { describe, expect, test } from "bun:test";
import { type RepackedType, repack, takeRows, unpairedRows } from "../../src/formats/ggml-blocks.ts";
import { integer, seeded } from "../random.ts";
import { affineWeights, firstDifference } from "./affine.ts";

const BLOCK_BYTES = { Q4_0: 18, Q4_1: 20, Q8_0: 34 } as const;
/** The bits of 65504, and of it by 8 and by 128. */
const LARGEST_SCALES = { Q4_0: 0x6fff, Q4_1: 0x7bff, Q8_0: 0x5fff } as const;
const TYPES = ["Q4_0", "Q4_1", "Q8_0"] as const;

/** ggml's own definition of a block's weights, in float32 as its C code has it. */
function ggmlWeights(type: RepackedType, bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const size = BLOCK_BYTES[type];
  const view = new DataView(bytes.buffer);
  const weights = new Float32Array((bytes.length / size) * 32);
  for (let element = 0; element < weights.length; element++) {
    const block = (element >> 5) * size;
    const k = element & 31;
    const d = view.getFloat16(block, true);
    const nibble = (head: number) => (view.getUint8(block + head + (k & 15)) >> (k < 16 ? 0 : 4)) & 15;
    switch (type) {
      case "Q4_0":
        weights[element] = d * (nibble(2) - 8);
        break;
      case "Q4_1":
        weights[element] = Math.fround(d * nibble(4)) + view.getFloat16(block + 2, true);
        break;
      case "Q8_0":
        weights[element] = d * view.getInt8(block + 2 + k);
        break;
    }
  }
  return weights;
}

/** Random blocks whose scales are any half floats with an offset: subnormal, negative, largest. */
function randomBlocks(random: () => number, type: RepackedType, blocks: number): Uint8Array<ArrayBuffer> {
  const size = BLOCK_BYTES[type];
  const bytes = Uint8Array.from({ length: blocks * size }, () => integer(random, 0, 255));
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    for (const at of type === "Q4_1" ? [0, 2] : [0]) {
      const half = integer(random, 0, LARGEST_SCALES[type]) | (integer(random, 0, 1) << 15);
      view.setUint16(block * size + at, half, true);
    }
  }
  return bytes;
}

describe("repack()", () => {
  for (const type of TYPES) {
    for (const arithmetic of ["stepwise", "fused"] as const) {
      test(`gives ggml's weights of ${type} bit for bit with ${arithmetic} arithmetic`, () => {
        const seed = Date.now() >>> 0;
        const bytes = randomBlocks(seeded(seed), type, 4096);
        const groups = repack(type, bytes, 128, 1024);
        const difference = firstDifference(affineWeights(groups, arithmetic), ggmlWeights(type, bytes));
        expect({ seed, difference }).toEqual({ seed, difference: null });
      });
    }
  }

  test("has the shapes of MLX", () => {
    const groups = repack("Q8_0", new Uint8Array(34 * 6), 3, 64);
    expect([groups.bits, groups.packed.length, groups.scales.length, groups.biases.length]).toEqual([8, 48, 6, 6]);
    expect(repack("Q4_0", new Uint8Array(18 * 6), 3, 64).packed.length).toBe(24);
  });

  test("reads bytes that begin at an odd place of their buffer", () => {
    const bytes = randomBlocks(seeded(1), "Q4_1", 4);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect(repack("Q4_1", shifted.subarray(1), 2, 64)).toEqual(repack("Q4_1", bytes, 2, 64));
  });

  test("leaves the bytes it is given as they were", () => {
    const bytes = randomBlocks(seeded(2), "Q8_0", 4);
    const before = bytes.slice();
    repack("Q8_0", bytes, 2, 64);
    expect(bytes).toEqual(before);
  });

  test("gives an infinity where the offset of a scale is no half float", () => {
    const offsetOf = (type: "Q4_0" | "Q8_0", scale: number) => {
      const bytes = new Uint8Array(BLOCK_BYTES[type]);
      new DataView(bytes.buffer).setFloat16(0, scale, true);
      return new Float16Array(repack(type, bytes, 1, 32).biases.buffer)[0];
    };
    expect([offsetOf("Q8_0", 511), offsetOf("Q4_0", 8000)]).toEqual([-65408, -64000]);
    expect([offsetOf("Q8_0", 513), offsetOf("Q4_0", -9000)]).toEqual([-Infinity, Infinity]);
  });
});

describe("unpairedRows()", () => {
  test("undoes what the converter to GGUF does to q and k", () => {
    const [heads, head_dim] = [3, 8];
    // The converter: reshape(heads, 2, head_dim / 2), swap the last two axes.
    const file: number[] = [];
    for (let head = 0; head < heads; head++) {
      for (let pair = 0; pair < head_dim / 2; pair++) {
        for (let half = 0; half < 2; half++) file.push(head * head_dim + (half * head_dim) / 2 + pair);
      }
    }
    const rows = Uint32Array.from(file.flatMap((row) => [row, row + 100]));
    const taken = takeRows(rows, unpairedRows(heads, head_dim));
    expect([...taken]).toEqual(Array.from({ length: 24 }, (_, row) => [row, row + 100]).flat());
  });

  test("gives the same weights before and after repacking", () => {
    const bytes = randomBlocks(seeded(3), "Q4_1", 16 * 2);
    const order = unpairedRows(2, 8);
    const first = repack("Q4_1", takeRows(bytes, order), 16, 64);
    const groups = repack("Q4_1", bytes, 16, 64);
    const last = {
      ...groups,
      packed: takeRows(groups.packed, order),
      scales: takeRows(groups.scales, order),
      biases: takeRows(groups.biases, order),
    };
    expect(last).toEqual(first);
  });
});
