/** What the tests of the kernels share: arrays of random layout, functions the bridge does not call, errors measured. */

import { CString, dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { type Dtype, fromBytes, fromSlot, type MlxArray } from "../../src/mlx/array.ts";
import { emptySlot, library, slotHandle } from "../../src/mlx/library.ts";
import { astype, slice, transpose } from "../../src/mlx/ops.ts";
import { LIBRARY } from "../open-mlx.ts";
import { integer } from "../random.ts";

type Random = () => number;

/** A second view of the same library: functions of the ABI that the bridge does not call, and our own. */
export const { symbols: more } = dlopen(LIBRARY, {
  mlx_argmax_axis: { args: ["ptr", "ptr", "i32", "bool", "ptr"], returns: "i32" },
  mlx_dequantize: {
    args: ["ptr", "ptr", "ptr", "ptr", "u64", "u64", "ptr", "ptr", "u64", "ptr"],
    returns: "i32",
  },
  mlx_gather_mm: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "bool", "ptr"], returns: "i32" },
  mlx_gather_qmm: {
    args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr", "ptr", "bool", "u64", "u64", "ptr", "bool", "ptr"],
    returns: "i32",
  },
  mlx_fast_layer_norm: { args: ["ptr", "ptr", "ptr", "ptr", "f32", "ptr"], returns: "i32" },
  mlx_fast_rms_norm: { args: ["ptr", "ptr", "ptr", "f32", "ptr"], returns: "i32" },
  mlx_fast_rope: { args: ["ptr", "ptr", "i32", "bool", "u64", "f32", "i32", "ptr", "ptr"], returns: "i32" },
  mlx_fast_rope_dynamic: { args: ["ptr", "ptr", "i32", "bool", "u64", "f32", "ptr", "ptr", "ptr"], returns: "i32" },
});

/** How often an operation that has a kernel was left to MLX, by name. Only our own library counts. */
export function fallbacks(): Record<string, number> {
  if (process.platform !== "linux") return {};
  const { symbols } = dlopen(LIBRARY, { bunsen_fallbacks: { args: ["ptr"], returns: "i32" } });
  expect(symbols.bunsen_fallbacks(emptySlot())).toBe(0);
  const text = slotHandle();
  const { native } = library();
  const data = native.mlx_string_data(text);
  const lines = data === null ? "" : new CString(data).toString();
  native.mlx_string_free(text);
  return Object.fromEntries([...lines.matchAll(/^(\w+) (\d+)$/gm)].map(([, name, count]) => [name, Number(count)]));
}

/** Called last in a file: what its tests compared was computed by our kernels and not by MLX. */
export function testNoFallbacks(): void {
  const before = fallbacks();
  test("none of this was left to MLX", () => {
    expect(fallbacks()).toEqual(before);
  });
}

/** The result of a call that is given an empty out-slot and the stream. */
export function result(
  call: (slot: ReturnType<typeof emptySlot>, stream: ReturnType<typeof library>["stream"]) => number,
) {
  return fromSlot("the call", call(emptySlot(), library().stream));
}

/** mlx_optional_float and mlx_optional_int: the value in the low half, the flag above it. */
export function present(value: number, kind: "int" | "float"): bigint {
  const bits = kind === "int" ? value : (new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0);
  return BigInt(bits) | (1n << 32n);
}
export const absent = 0n;

export interface Drawn extends Disposable {
  readonly array: MlxArray;
  /** Row-major, exactly what `array` holds. */
  readonly values: Float32Array;
}

/** Numbers that every float dtype holds exactly: multiples of 1/32 below 4. */
export function coarse(random: Random): number {
  return integer(random, -127, 127) / 32;
}

/** An array of `shape` whose axes lie in memory in any order, some with gaps between their items. */
export function draw(
  random: Random,
  shape: readonly number[],
  { dtype = "float32" as Dtype, item = (next: Random) => next() * 2 - 1, last_axis_stays = false } = {},
): Drawn {
  const values = Float32Array.from({ length: sizeOf(shape) }, () => item(random));
  const rank = shape.length;
  const order = shuffled(random, last_axis_stays ? rank - 1 : rank);
  if (last_axis_stays) order.push(rank - 1);
  const gaps = order.map(() => (random() < 0.3 ? integer(random, 1, 3) : 0));
  const stored = order.map((axis, place) => (shape[axis] ?? 1) + (gaps[place] ?? 0));
  const memory = new Float32Array(sizeOf(stored)).fill(Number.NaN);
  const place = order.map((_, axis) => order.indexOf(axis));
  for (const [at, value] of values.entries()) {
    const index = unravel(at, shape);
    memory[
      ravel(
        order.map((axis) => index[axis] ?? 0),
        stored,
      )
    ] = value;
  }
  using whole = fromBytes(memory, stored, "float32");
  using typed = astype(whole, dtype);
  using inner = slice(
    typed,
    order.map(() => 0),
    order.map((axis) => shape[axis] ?? 1),
  );
  const array = transpose(inner, place);
  return { array, values, [Symbol.dispose]: () => array[Symbol.dispose]() };
}

/** The greatest difference, each relative to `size` of its place (1 where none is given); infinite where only one is NaN. */
export function worstError(found: Float32Array, expected: ArrayLike<number>, size?: ArrayLike<number>): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (const [at, value] of found.entries()) {
    const wanted = expected[at] ?? Number.NaN;
    if (Object.is(value, wanted) || value === wanted) continue;
    const error = Math.abs(value - wanted) / (size?.[at] || 1);
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst;
}

export function pick<const Item>(random: Random, items: readonly [Item, ...Item[]]): Item {
  return items[integer(random, 0, items.length - 1)] ?? items[0];
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

function shuffled(random: Random, count: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let at = count - 1; at > 0; at--) {
    const other = integer(random, 0, at);
    [order[at], order[other]] = [order[other] ?? 0, order[at] ?? 0];
  }
  return order;
}

function unravel(at: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = at;
  for (const dim of shape.toReversed()) {
    index.unshift(rest % dim);
    rest = Math.floor(rest / dim);
  }
  return index;
}

function ravel(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((at, part, axis) => at * (shape[axis] ?? 1) + part, 0);
}
