/**
 * What the additions of our library do at the edges: numbers that are not computed yet, memory that is not there, sizes
 * that are none.
 */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { fromBytes, type MlxArray, toFloat32, toUint32 } from "../../src/mlx/array.ts";
import {
  applyAttention,
  type NativeLayer,
  newLayer,
  reserve,
  ropeAngles,
  setThreads,
  takeLinearRows,
} from "../../src/mlx/extras.ts";
import { add, argmax, astype, matmul, transpose, zeros } from "../../src/mlx/ops.ts";
import { WITH_EXTRAS } from "../open-mlx.ts";
import { integer, seeded } from "../random.ts";

const NO_MLP_WEIGHTS = 14;

function threadName(task: string): string | null {
  try {
    return readFileSync(`/proc/self/task/${task}/comm`, "utf8").trim();
  } catch {
    return null; // it has ended since it was listed
  }
}

/** Of the pool. */
function threadCount(): number {
  return readdirSync("/proc/self/task").filter((task) => threadName(task) === "bunsen").length;
}

function floats(shape: readonly number[], value: (index: number) => number): MlxArray {
  const size = shape.reduce((product, dim) => product * dim, 1);
  return fromBytes(
    Float32Array.from({ length: size }, (_, index) => value(index)),
    shape,
    "float32",
  );
}

/** A dense layer whose row r holds r * 100 + column. */
function table(rows: number, columns: number): NativeLayer {
  using weight = floats([rows, columns], (index) => Math.floor(index / columns) * 100 + (index % columns));
  return newLayer("linear", { weights: [weight, null, null, null], numbers: [columns, 0, 0], factors: [] });
}

describe.if(process.platform === "linux" && WITH_EXTRAS)("our library's additions", () => {
  test("read rows by numbers that are themselves still to be computed", () => {
    using layer = table(300, 8);
    const random = seeded(1);
    for (let turn = 0; turn < 30; turn++) {
      const wanted = Array.from({ length: integer(random, 1, 40) }, () => integer(random, 0, 299));
      // a long sum and then the place of the greatest: the numbers come late
      using left = floats([wanted.length, 64], () => 1 / 64);
      using right = floats([64, 300], () => 1);
      using ones = matmul(left, right);
      using marks = floats([wanted.length, 300], (index) => (wanted[Math.floor(index / 300)] === index % 300 ? 1 : 0));
      using scores = add(ones, marks);
      using numbers = argmax(scores, -1);
      using rows = takeLinearRows(layer, numbers);
      const firsts = toFloat32(rows).filter((_, index) => index % 8 === 0);
      expect([...toUint32(numbers)]).toEqual(wanted);
      expect([...firsts]).toEqual(wanted.map((row) => row * 100));
    }
  });

  test("refuse a row beyond the table", () => {
    using layer = table(4, 8);
    using numbers = fromBytes(Uint32Array.of(1, 4), [2], "uint32");
    using rows = takeLinearRows(layer, numbers);
    expect(() => toFloat32(rows)).toThrow("a row beyond the table");
  });

  test("reserve no memory of a negative size, nor more than there is", () => {
    expect(() => reserve([-2, 8], "float32")).toThrow("Invalid shape (-2,8)");
    expect(() => reserve([2 ** 30, 2 ** 30, 2 ** 30], "float32")).toThrow("Invalid shape");
    expect(() => reserve([2 ** 30, 2 ** 17], "float32")).toThrow("bad_alloc");
  });

  test("refuse a result for which there is no memory", () => {
    using left = zeros([2 ** 24, 1], "float32");
    using right = zeros([1, 2 ** 24], "float32");
    using product = matmul(left, right);
    expect(() => toFloat32(product)).toThrow("bad_alloc");
  });

  test("refuse products of complex numbers, for which no library stands behind them", () => {
    using one = floats([2, 2], () => 1);
    using complex = astype(one, "complex64");
    expect(() => matmul(complex, one)).toThrow("products of complex64");
    expect(() => matmul(one, complex)).toThrow("products of complex64");
  });

  test("refuse numbers of threads that cannot be", () => {
    expect(() => setThreads(-1)).toThrow("expected a number of threads, found -1");
    expect(() => setThreads(1_000_000)).toThrow("expected a number of threads, found 1000000");
  });

  test("take another number of threads while they are in use", async () => {
    using left = floats([64, 512], (index) => index % 7);
    using right = floats([512, 512], (index) => index % 5);
    for (const count of [7, 1, 4, 2]) {
      setThreads(count);
      using product = matmul(left, right);
      toFloat32(product);
      for (let wait = 0; wait < 300 && threadCount() !== count - 1; wait++) await Bun.sleep(10);
      expect(threadCount()).toBe(count - 1); // beside the one that asks
    }
    setThreads(0);
  });

  test("refuse an activation they do not know", () => {
    using weight = floats([8, 8], () => 0);
    const weights: (MlxArray | null)[] = new Array(NO_MLP_WEIGHTS).fill(null);
    for (const place of [1, 5, 9]) weights[place] = weight; // gate, up, down
    const numbers = (activation: number) => [8, activation, 0, 0, 0, 0, 0, 0];
    using layer = newLayer("mlp", { weights, numbers: numbers(1), factors: [1e-5, 1] });
    expect(layer.kind).toBe("mlp");
    expect(() => newLayer("mlp", { weights, numbers: numbers(7), factors: [1e-5, 1] })).toThrow("activation");
  });

  test("write keys and values only where these lie in rows", () => {
    const [heads, head_dim, hidden] = [1, 32, 32];
    using weight = floats([hidden, hidden], (index) => (index % (hidden + 1) === 0 ? 1 : 0));
    const four = [weight, null, null, null];
    using layer = newLayer("attention", {
      weights: [null, ...four, ...four, ...four, ...four, null, null, null, null],
      numbers: [hidden, heads, heads, head_dim, head_dim, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      factors: [1e-5, 1, 0, 1],
    });
    using x = floats([1, hidden], (index) => index / hidden);
    using spans = fromBytes(Int32Array.of(1, 0, 1, 0, 5, 0), [6], "int32");
    using positions = fromBytes(Int32Array.of(0), [1], "int32");
    using wavelengths = floats([head_dim / 2], () => 1);
    using angles = ropeAngles(positions, wavelengths, 1, 1);
    using keys = zeros([1, heads, head_dim, 32], "float32");
    using values = zeros([1, heads, 32, head_dim], "float32");
    using attended = applyAttention(layer, x, x, { keys, values }, spans, angles);
    expect(toFloat32(attended)).toEqual(toFloat32(x).map((value) => 2 * value)); // one token sees itself
    using turned = transpose(keys, [0, 1, 3, 2]);
    using elsewhere = applyAttention(layer, x, x, { keys: turned, values }, spans, angles);
    expect(() => toFloat32(elsewhere)).toThrow("must lie in rows");
  });
});
