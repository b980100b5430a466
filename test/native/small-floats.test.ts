/** Weights that are small floats (mxfp4, mxfp8, nvfp4): rows, products and mixtures against every value of their tables. */

import { describe, expect, test } from "bun:test";
import { fromBytes, type MlxArray, toFloat32 } from "../../src/mlx/array.ts";
import { astype, dequantize, gatherQmm, quantize, quantizedMatmul } from "../../src/mlx/ops.ts";
import { SMALL_FLOATS } from "../../src/models/quantization.ts";
import "../open-mlx.ts";
import { integer, seeded } from "../random.ts";
import { draw, pick, testNoFallbacks } from "./arrays.ts";
import { unpack } from "./packed.ts";

// Sums in another order: a few roundings of 2^-24 of what is added up.
const ERROR_MAX = 1e-5;

const MODES = Object.values(SMALL_FLOATS);

/** A float of one sign, some exponent and `mantissa` bits, the least exponent without a leading one. */
function smallFloat(q: number, bits: number, mantissa: number): number {
  const bias = 2 ** (bits - mantissa - 2) - 1;
  const sign = q >> (bits - 1) ? -1 : 1;
  const exponent = (q >> mantissa) & (2 ** (bits - 1 - mantissa) - 1);
  const fraction = (q & (2 ** mantissa - 1)) / 2 ** mantissa;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

type Form = (typeof MODES)[number];

function weightOf(words: Uint32Array, scales: Uint8Array, at: number, { mode, bits, group_size }: Form): number {
  const scale = scales[Math.floor(at / group_size)] ?? 0;
  const factor = mode === "nvfp4" ? smallFloat(scale, 8, 3) : 2 ** (scale - 127);
  return factor * smallFloat(unpack(words, at, bits), bits, bits === 4 ? 1 : 3);
}

interface Drawn extends Disposable {
  readonly words: MlxArray;
  readonly scales: MlxArray;
  readonly weights: Float64Array;
}

/** Random bits are weights; scales are about one, so that sums of many have no part of nothing. */
function drawn(random: () => number, shape: readonly number[], form: Form): Drawn {
  const columns = shape.at(-1) ?? 0;
  const leading = shape.slice(0, -1);
  const size = shape.reduce((product, dim) => product * dim, 1);
  const words = Uint32Array.from({ length: (size * form.bits) / 32 }, () => random() * 2 ** 32);
  const middle = form.mode === "nvfp4" ? 56 : 127;
  const scales = Uint8Array.from({ length: size / form.group_size }, () => middle + integer(random, -6, 6));
  const arrays = [
    fromBytes(words, [...leading, (columns * form.bits) / 32], "uint32"),
    fromBytes(scales, [...leading, columns / form.group_size], "uint8"),
  ] as const;
  return {
    words: arrays[0],
    scales: arrays[1],
    weights: Float64Array.from({ length: size }, (_, at) => weightOf(words, scales, at, form)),
    [Symbol.dispose]() {
      for (const array of arrays) array[Symbol.dispose]();
    },
  };
}

/** The greatest error of `x` times the rows of `weights`, by what is added up. */
function worst(found: Float32Array, x: Float32Array, weights: Float64Array, rows: number, columns: number): number {
  let error = 0;
  for (let at = 0; at < found.length; at++) {
    const [index, row] = [Math.floor(at / rows), at % rows];
    let [sum, size] = [0, 0];
    for (let column = 0; column < columns; column++) {
      const part = (x[index * columns + column] ?? 0) * (weights[row * columns + column] ?? 0);
      sum += part;
      size += Math.abs(part);
    }
    error = Math.max(error, Math.abs((found[at] ?? Number.NaN) - sum) / size);
  }
  return error;
}

describe.each(MODES)("$mode", (form) => {
  test("every weight at every scale is what its bits say", () => {
    const count = 2 ** form.bits;
    const columns = Math.max(count, 32);
    const bytes = Uint8Array.from({ length: (columns * form.bits) / 8 }, (_, at) =>
      form.bits === 8 ? at : ((2 * at) & 15) | (((2 * at + 1) & 15) << 4),
    );
    // E4M3 has no scale below nothing; the greatest power of two is no number
    for (let scale = 0; scale < (form.mode === "nvfp4" ? 127 : 255); scale++) {
      const scales = new Uint8Array(columns / form.group_size).fill(scale);
      using packed = fromBytes(bytes, [1, (columns * form.bits) / 32], "uint32");
      using scale_bytes = fromBytes(scales, [1, scales.length], "uint8");
      using rows = dequantize(packed, scale_bytes, null, form);
      using floats = astype(rows, "float32");
      const words = new Uint32Array(bytes.buffer);
      const expected = Array.from({ length: columns }, (_, at) => Math.fround(weightOf(words, scales, at, form)));
      // beyond the range of floats only one of two roundings is the same: to nothing, or to the least
      const compared = [...toFloat32(floats)].map((value, at) =>
        Math.abs(expected[at] ?? 0) < 2 ** -126 ? expected[at] : value,
      );
      expect(compared).toEqual(expected);
    }
  });

  test("random products are those of float64 (seed 1)", () => {
    const random = seeded(1);
    for (let turn = 0; turn < 40; turn++) {
      const columns = 32 * integer(random, 1, 40);
      const rows = integer(random, 1, pick(random, [40, 200]));
      const count = integer(random, 1, pick(random, [3, 40]));
      using x = draw(random, [count, columns]);
      using w = drawn(random, [rows, columns], form);
      using y = quantizedMatmul(x.array, w.words, w.scales, null, form);
      const good = worst(toFloat32(y), x.values, w.weights, rows, columns) < ERROR_MAX;
      expect({ turn, rows, columns, count, good }).toEqual({ turn, rows, columns, count, good: true });
    }
  });

  test("each row goes to the matrix that an index names (seed 2)", () => {
    const random = seeded(2);
    for (let turn = 0; turn < 20; turn++) {
      const [experts, rows, columns, places] = [4, integer(random, 1, 40), 32 * integer(random, 1, 9), 5];
      const chosen = Uint32Array.from({ length: places }, () => integer(random, 0, experts - 1));
      using x = draw(random, [places, 1, 1, columns]);
      using w = drawn(random, [experts, rows, columns], form);
      using indices = fromBytes(chosen, [places, 1], "uint32");
      using y = gatherQmm(x.array, w.words, w.scales, null, indices, form);
      const found = toFloat32(y);
      for (const [place, expert] of chosen.entries()) {
        const own = w.weights.subarray(expert * rows * columns, (expert + 1) * rows * columns);
        const row = x.values.subarray(place * columns, (place + 1) * columns);
        const error = worst(found.subarray(place * rows, (place + 1) * rows), row, own, rows, columns);
        expect(error).toBeLessThan(ERROR_MAX);
      }
    }
  });

  test("what MLX quantises comes back as it rounded it", () => {
    const random = seeded(3);
    using x = draw(random, [32, 128]);
    const parts = quantize(x.array, form);
    const [words, scales] = parts;
    if (words === undefined || scales === undefined || parts.length !== 2) throw new Error("expected two parts");
    using rows = dequantize(words, scales, null, form);
    using floats = astype(rows, "float32");
    const steps = form.bits === 8 ? 16 : 3;
    const error = Math.max(...toFloat32(floats).map((value, at) => Math.abs(value - (x.values[at] ?? 0))));
    expect(error).toBeLessThan(1 / steps);
    for (const part of parts) part[Symbol.dispose]();
  });
});

testNoFallbacks();
