/** Arrays of MLX: values, errors, and who frees them. */

import { expect, test } from "bun:test";
import { arrayCounts, fromBytes, scalar, toFloat32 } from "../../src/mlx/array.ts";
import { MlxError } from "../../src/mlx/library.ts";
import { add, matmul, reshape, slice, sliceUpdate, transpose } from "../../src/mlx/ops.ts";
import "../open-mlx.ts";

const floats = (values: number[], shape: number[]) => fromBytes(Float32Array.from(values), shape, "float32");

test("an array keeps its shape, dtype and values", () => {
  using array = floats([1, 2, 3, 4, 5, 6], [2, 3]);
  expect(array.shape).toEqual([2, 3]);
  expect(array.dtype).toBe("float32");
  expect(array.bytes).toBe(24);
  expect([...toFloat32(array)]).toEqual([1, 2, 3, 4, 5, 6]);
});

test("an array does not change when its source does", () => {
  const source = Float32Array.of(1, 2);
  using array = fromBytes(source, [2], "float32");
  source[0] = 9;
  expect([...toFloat32(array)]).toEqual([1, 2]);
});

test("a failed operation throws with its name and MLX's reason", () => {
  using a = floats([1, 2, 3], [3]);
  using b = floats([1, 2], [2]);
  const attempt = () => add(a, b);
  expect(attempt).toThrow(MlxError);
  expect(attempt).toThrow(/^mlx_add: .*shape/i);
});

test("an operation after a failed one is not touched by the failure", () => {
  using a = floats([1, 2, 3], [3]);
  using b = floats([1, 2], [2]);
  expect(() => matmul(a, b)).toThrow(/^mlx_matmul/);
  using sum = add(a, a);
  expect([...toFloat32(sum)]).toEqual([2, 4, 6]);
});

test("a freed array refuses to be used", () => {
  const array = scalar(1);
  array[Symbol.dispose]();
  array[Symbol.dispose]();
  expect(() => array.handle).toThrow("after it was freed");
});

test("slices and updates place values by row and column", () => {
  using zeros = floats(new Array(6).fill(0), [2, 3]);
  using patch = floats([7, 8], [1, 2]);
  using patched = sliceUpdate(zeros, patch, [1, 1], [2, 3]);
  expect([...toFloat32(patched)]).toEqual([0, 0, 0, 0, 7, 8]);
  using column = slice(patched, [0, 2], [2, 3]);
  using flat = reshape(column, [2]);
  expect([...toFloat32(flat)]).toEqual([0, 8]);
});

test("a transposed array is read in its own order", () => {
  using array = floats([1, 2, 3, 4, 5, 6], [2, 3]);
  using turned = transpose(array, [1, 0]);
  expect([...toFloat32(turned)]).toEqual([1, 4, 2, 5, 3, 6]);
});

test("the finalizer catches and counts an array that no one owns", async () => {
  const before = arrayCounts();
  (() => {
    for (let index = 0; index < 100; index++) scalar(index);
  })();
  for (let turn = 0; turn < 50 && arrayCounts().caught < before.caught + 100; turn++) {
    Bun.gc(true);
    await Bun.sleep(5);
  }
  const after = arrayCounts();
  expect(after.caught).toBeGreaterThan(before.caught + 50);
  expect(after.alive - before.alive + (after.caught - before.caught)).toBe(100);
});
