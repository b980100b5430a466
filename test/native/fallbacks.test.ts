/** The count of operations left to MLX. */

import { describe, expect, test } from "bun:test";
import { fromBytes, type MlxArray } from "../../src/mlx/array.ts";
import { matmul, sigmoid, softmax } from "../../src/mlx/ops.ts";
import { fallbacks } from "./arrays.ts";

describe.if(process.platform === "linux")("our library", () => {
  test("counts an operation whose inputs have no kernel, and no other", () => {
    using floats = fromBytes(Float32Array.of(1, 2, 3, 4), [2, 2], "float32");
    using halves = fromBytes(Uint16Array.of(0x3c00, 0x3c00, 0x3c00, 0x3c00), [2, 2], "float16");
    const before = fallbacks();
    const run = (...arrays: MlxArray[]) => {
      for (const array of arrays) array[Symbol.dispose]();
    };
    run(softmax(floats, -1), sigmoid(floats), matmul(floats, floats));
    expect(fallbacks()).toEqual(before);
    run(softmax(floats, 0), softmax(halves, -1), sigmoid(halves), matmul(halves, halves));
    const added = (name: string) => (fallbacks()[name] ?? 0) - (before[name] ?? 0);
    expect([added("softmax_axis"), added("sigmoid"), added("matmul")]).toEqual([2, 1, 1]);
  });
});
