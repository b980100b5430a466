/** Quantised rows turned back to floats: each the one product and sum that it is, rounded to the dtype promised. */

import { expect, test } from "bun:test";
import { dtypes, fromBytes, toFloat32 } from "../../src/mlx/array.ts";
import { astype } from "../../src/mlx/ops.ts";
import { integer, seeded } from "../random.ts";
import { absent, coarse, draw, more, pick, present, result, sizeOf, testNoFallbacks, worstError } from "./arrays.ts";
import { unpack } from "./packed.ts";

// Half a unit of the last place. In float32 every number drawn here is exact.
const ERROR_MAX = { float32: 0, float16: 2 ** -11, bfloat16: 2 ** -8 };

const affine = new TextEncoder().encode("affine\0");

for (const seed of [1, 2]) {
  test(`60 random tables are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 60; turn++) {
      const bits = pick(random, [2, 3, 4, 5, 6, 8]);
      const group_size = pick(random, [32, 64, 128]);
      const leading = Array.from({ length: integer(random, 1, 3) }, () => integer(random, 1, 6));
      const groups = integer(random, 1, 9);
      const columns = groups * group_size;
      const stored = pick(random, ["float32", "float16", "bfloat16"]);
      const wanted = pick(random, [null, "float32", "float16", "bfloat16"]);
      const words = Uint32Array.from({ length: (sizeOf(leading) * columns * bits) / 32 }, () => random() * 2 ** 32);
      using w = fromBytes(words, [...leading, (columns * bits) / 32], "uint32");
      using scales = draw(random, [...leading, groups], { dtype: stored, item: coarse });
      using biases = draw(random, [...leading, groups], { dtype: stored, item: coarse });
      using y = result((slot, stream) =>
        more.mlx_dequantize(
          slot,
          w.handle,
          scales.array.handle,
          biases.array.handle,
          present(group_size, "int"),
          present(bits, "int"),
          affine,
          null,
          wanted === null ? absent : present(dtypes[wanted], "int"),
          stream,
        ),
      );
      using floats = astype(y, "float32");
      const expected = Array.from({ length: sizeOf(leading) * columns }, (_, at) => {
        const group = Math.floor(at / group_size);
        return (scales.values[group] ?? 0) * unpack(words, at, bits) + (biases.values[group] ?? 0);
      });
      const dtype = wanted ?? stored;
      const good = worstError(toFloat32(floats), expected, expected.map(Math.abs)) <= ERROR_MAX[dtype];
      const how = { turn, bits, group_size, leading, stored, wanted };
      expect({ ...how, dtype: y.dtype, shape: y.shape, good }).toEqual({
        ...how,
        dtype,
        shape: [...leading, columns],
        good: true,
      });
    }
  });
}

testNoFallbacks();
