/** The count of operations left to MLX. */

import { CString, dlopen } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { fromBytes, type MlxArray } from "../../src/mlx/array.ts";
import { emptySlot, library, slotHandle } from "../../src/mlx/library.ts";
import { matmul, sigmoid, softmax } from "../../src/mlx/ops.ts";
import { LIBRARY } from "../open-mlx.ts";

describe.if(process.platform === "linux")("our library", () => {
  test("counts an operation whose inputs have no kernel, and no other", () => {
    const { symbols } = dlopen(LIBRARY, { bunsen_fallbacks: { args: ["ptr"], returns: "i32" } });
    const fallbacks = (): Record<string, number> => {
      expect(symbols.bunsen_fallbacks(emptySlot())).toBe(0);
      const text = slotHandle();
      const data = library().native.mlx_string_data(text);
      const lines = data === null ? [] : new CString(data).toString().trim().split("\n");
      library().native.mlx_string_free(text);
      return Object.fromEntries(lines.map((line) => [line.split(" ")[0], Number(line.split(" ")[1])]));
    };
    using floats = fromBytes(Float32Array.of(1, 2, 3, 4), [2, 2], "float32");
    using halves = fromBytes(Uint16Array.of(0x3c00, 0x3c00, 0x3c00, 0x3c00), [2, 2], "float16");
    const before = fallbacks();
    const added = (name: string) => (fallbacks()[name] ?? 0) - (before[name] ?? 0);
    const run = (...arrays: MlxArray[]) => arrays.forEach((array) => void array[Symbol.dispose]());
    run(softmax(floats, -1), sigmoid(floats), matmul(floats, floats));
    expect([added("softmax_axis"), added("sigmoid"), added("matmul")]).toEqual([0, 0, 0]);
    run(softmax(floats, 0), softmax(halves, -1), sigmoid(halves), matmul(halves, halves));
    expect([added("softmax_axis"), added("sigmoid"), added("matmul")]).toEqual([2, 1, 1]);
  });
});
