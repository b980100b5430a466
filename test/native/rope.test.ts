/** Rotary position embedding in every form of the ABI, against float64. */

import { expect, test } from "bun:test";
import { fromBytes, type MlxArray, toFloat32 } from "../../src/mlx/array.ts";
import { integer, seeded } from "../random.ts";
import { absent, draw, more, pick, present, result, sizeOf, testNoFallbacks, worstError } from "./arrays.ts";

// Angles up to a few hundred are rounded to float32 before their sine is taken.
const ERROR_MAX = 1e-4;

interface Case {
  readonly shape: readonly number[];
  readonly dims: number;
  readonly traditional: boolean;
  readonly base: number;
  readonly wavelengths: Float32Array | null;
  readonly scale: number;
  /** One for all, or one for each of the batch. */
  readonly offsets: readonly number[];
}

function randomCase(random: () => number): Case {
  const batch = integer(random, 1, 4);
  const head_dim = 2 * integer(random, 1, 40);
  const dims = random() < 0.5 ? head_dim : 2 * integer(random, 1, head_dim / 2);
  const middle = pick<readonly number[]>(random, [[], [integer(random, 1, 5)], [2, integer(random, 1, 3)]]);
  const each_its_own = random() < 0.4;
  return {
    shape: [batch, ...middle, integer(random, 1, 9), head_dim],
    dims,
    traditional: random() < 0.5,
    base: pick(random, [10000, 500000]),
    wavelengths: random() < 0.3 ? Float32Array.from({ length: dims / 2 }, () => 1 + random() * 1000) : null,
    scale: pick(random, [1, 1, 0.25]),
    offsets: Array.from({ length: each_its_own ? batch : 1 }, () => integer(random, 0, 300)),
  };
}

function turned(how: Case, values: Float32Array): Float64Array {
  const { shape, dims, traditional, scale, offsets } = how;
  const [length = 1, head_dim = 1] = shape.slice(-2);
  const rows = sizeOf(shape) / head_dim;
  const rows_per_offset = rows / offsets.length;
  const y = Float64Array.from(values);
  for (let row = 0; row < rows; row++) {
    const offset = offsets[Math.floor(row / rows_per_offset)] ?? 0;
    for (let pair = 0; pair < dims / 2; pair++) {
      const angle = ((row % length) + offset) * scale * inverseOf(how, pair);
      const first = row * head_dim + (traditional ? 2 * pair : pair);
      const second = traditional ? first + 1 : first + dims / 2;
      const [a, b] = [values[first] ?? 0, values[second] ?? 0];
      y[first] = a * Math.cos(angle) - b * Math.sin(angle);
      y[second] = a * Math.sin(angle) + b * Math.cos(angle);
    }
  }
  return y;
}

/** How far a pair turns from one position to the next. */
function inverseOf({ dims, base, wavelengths }: Case, pair: number): number {
  return wavelengths === null ? base ** ((-2 * pair) / dims) : 1 / (wavelengths[pair] ?? 1);
}

function rope(x: MlxArray, { dims, traditional, base, wavelengths, scale, offsets }: Case, dynamic: boolean): MlxArray {
  using frequencies = fromBytes(wavelengths ?? new Float32Array(1), [wavelengths?.length ?? 1], "float32");
  using offset_array = fromBytes(Int32Array.from(offsets), offsets.length === 1 ? [] : [offsets.length], "int32");
  const wavelength_handle = wavelengths === null ? null : frequencies.handle;
  const base_option = wavelengths === null ? present(base, "float") : absent;
  const [first = 0] = offsets;
  return result((slot, stream) =>
    dynamic
      ? more.mlx_fast_rope_dynamic(
          slot,
          x.handle,
          dims,
          traditional,
          base_option,
          scale,
          offset_array.handle,
          wavelength_handle,
          stream,
        )
      : more.mlx_fast_rope(slot, x.handle, dims, traditional, base_option, scale, first, wavelength_handle, stream),
  );
}

for (const seed of [1, 2, 3]) {
  test(`80 random turns are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 80; turn++) {
      const how = randomCase(random);
      using x = draw(random, how.shape);
      using y = rope(x.array, how, how.offsets.length > 1 || random() < 0.3);
      const good = worstError(toFloat32(y), turned(how, x.values)) < ERROR_MAX;
      expect({ turn, ...how, good }).toEqual({ turn, ...how, good: true });
    }
  });
}

test("a later call is not given the angles of an earlier one", () => {
  const random = seeded(4);
  const how: Case = {
    shape: [1, 2, 3, 8],
    dims: 8,
    traditional: false,
    base: 10000,
    wavelengths: null,
    scale: 1,
    offsets: [5],
  };
  const others: Case[] = [
    how,
    { ...how, offsets: [6] },
    { ...how, scale: 0.5 },
    { ...how, base: 100 },
    { ...how, dims: 4 },
    { ...how, traditional: true },
    { ...how, wavelengths: Float32Array.of(1, 2, 3, 4) },
    how,
  ];
  using x = draw(random, how.shape);
  for (const other of others) {
    using y = rope(x.array, other, false);
    expect(worstError(toFloat32(y), turned(other, x.values))).toBeLessThan(ERROR_MAX);
  }
});

testNoFallbacks();
