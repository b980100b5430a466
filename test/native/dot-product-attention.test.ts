/** Attention with every kind of mask against float64, over lengths that end inside a tile, a block or a piece. */

import { expect, test } from "bun:test";
import { type Dtype, fromBytes, type MlxArray, toFloat32 } from "../../src/mlx/array.ts";
import { library } from "../../src/mlx/library.ts";
import { integer, seeded } from "../random.ts";
import { coarse, type Drawn, draw, pick, result, testNoFallbacks, worstError } from "./arrays.ts";

// A few roundings of 2^-24 of values of the size of one.
const ERROR_MAX = 1e-5;

interface Case {
  readonly batch: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly length: number;
  readonly total: number;
  readonly key_dims: number;
  readonly value_dims: number;
  readonly stored: Dtype;
  readonly mask: "none" | "causal" | "boolean" | "additive";
  readonly mask_shape: readonly number[];
  readonly sinks: boolean;
}

function randomCase(random: () => number): Case {
  const kv_heads = integer(random, 1, 3);
  const group = pick(random, [1, 2, 3, 7]);
  const length = random() < 0.4 ? 1 : integer(random, 1, random() < 0.2 ? 150 : 20);
  const total = length + integer(random, 0, random() < 0.1 ? 1300 : 150);
  const batch = integer(random, 1, 3);
  const heads = kv_heads * group;
  const full = [batch, heads, length, total];
  return {
    batch,
    heads,
    kv_heads,
    length,
    total,
    key_dims: integer(random, 1, 70),
    value_dims: pick(random, [16, 32, 64, integer(random, 1, 70)]),
    stored: pick(random, ["float32", "float32", "float16", "bfloat16"]),
    mask: pick(random, ["none", "causal", "boolean", "additive"]),
    mask_shape: full.map((dim) => (random() < 0.5 ? dim : 1)).slice(integer(random, 0, 2)),
    sinks: random() < 0.3,
  };
}

/** What is added to each score, (batch, heads, length, total): 0, -Infinity for hidden, or the mask's number. */
function addedScores(how: Case, mask: Drawn): (batch: number, head: number, query: number, key: number) => number {
  const { mask_shape, length, total } = how;
  switch (how.mask) {
    case "none":
      return () => 0;
    case "causal":
      return (_batch, _head, query, key) => (key <= query + total - length ? 0 : Number.NEGATIVE_INFINITY);
    default: {
      const missing = 4 - mask_shape.length;
      return (...place) => {
        const at = mask_shape.reduce((sum, dim, axis) => sum * dim + (dim === 1 ? 0 : (place[axis + missing] ?? 0)), 0);
        return mask.values[at] ?? 0;
      };
    }
  }
}

function softmaxed(scores: Float64Array, sink: number | null): Float64Array {
  const top = Math.max(...scores, sink ?? Number.NEGATIVE_INFINITY);
  if (top === Number.NEGATIVE_INFINITY) return scores.map(() => 1 / scores.length);
  const powers = scores.map((score) => Math.exp(score - top));
  const total = powers.reduce((sum, power) => sum + power, sink === null ? 0 : Math.exp(sink - top));
  return powers.map((power) => power / total);
}

function attended(how: Case, q: Drawn, k: Drawn, v: Drawn, mask: Drawn, sinks: Drawn): Float64Array {
  const { batch, heads, kv_heads, length, total, key_dims, value_dims } = how;
  const added = addedScores(how, mask);
  const y = new Float64Array(batch * heads * length * value_dims);
  for (let row = 0; row < batch * heads * length; row++) {
    const [b, h, query] = [Math.floor(row / length / heads), Math.floor(row / length) % heads, row % length];
    const kv = (b * kv_heads + Math.floor(h / (heads / kv_heads))) * total;
    const scores = new Float64Array(total).map((_, key) => {
      let score = added(b, h, query, key);
      for (let dim = 0; dim < key_dims; dim++) {
        score += ((q.values[row * key_dims + dim] ?? 0) * (k.values[(kv + key) * key_dims + dim] ?? 0)) / 4;
      }
      return score;
    });
    const shares = softmaxed(scores, how.sinks ? (sinks.values[h] ?? 0) : null);
    for (let key = 0; key < total; key++) {
      for (let dim = 0; dim < value_dims; dim++) {
        const at = row * value_dims + dim;
        y[at] = (y[at] ?? 0) + (shares[key] ?? 0) * (v.values[(kv + key) * value_dims + dim] ?? 0);
      }
    }
  }
  return y;
}

const modes = { none: "", causal: "causal", boolean: "array", additive: "array" } as const;

function attend(q: MlxArray, k: MlxArray, v: MlxArray, mode: keyof typeof modes, mask?: MlxArray, sinks?: MlxArray) {
  const text = new TextEncoder().encode(`${modes[mode]}\0`);
  return result((slot, stream) =>
    library().native.mlx_fast_scaled_dot_product_attention(
      slot,
      q.handle,
      k.handle,
      v.handle,
      0.25,
      text,
      mask?.handle ?? null,
      sinks?.handle ?? null,
      stream,
    ),
  );
}

/** Float masks hide by -infinity and shift by numbers; boolean ones are bytes, whose values stand here as 0 or -infinity. */
function drawMask(random: () => number, { mask, mask_shape }: Case): Drawn {
  const hidden_share = pick(random, [0.1, 0.5, 0.97]);
  const number = () => (mask === "additive" ? coarse(random) : 0);
  const item = () => (random() < hidden_share ? Number.NEGATIVE_INFINITY : number());
  if (mask === "additive") return draw(random, mask_shape, { item, dtype: pick(random, ["float32", "bfloat16"]) });
  const drawn = draw(random, mask_shape, { item, dtype: "float32" });
  const bytes = Uint8Array.from(drawn.values, (value) => (value === 0 ? 1 : 0));
  drawn[Symbol.dispose]();
  const array = fromBytes(bytes, mask_shape, "bool");
  return { array, values: drawn.values, [Symbol.dispose]: () => array[Symbol.dispose]() };
}

/** A float mask that hides all keys of a row gives NaN there, and no mask of a model does so. */
function hidesARow(how: Case, mask: Drawn): boolean {
  if (how.mask !== "additive" || how.sinks) return false;
  const keys = how.mask_shape.at(-1) ?? 1;
  const rows = Array.from({ length: mask.values.length / keys }, (_, row) =>
    mask.values.subarray(row * keys, (row + 1) * keys),
  );
  return rows.some((row) => row.every((value) => value === Number.NEGATIVE_INFINITY));
}

for (const seed of [1, 2, 3]) {
  test(`40 random attentions are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 40; turn++) {
      const how = randomCase(random);
      const { batch, heads, kv_heads, length, total, key_dims, value_dims, stored } = how;
      const item = stored === "float32" ? () => random() * 4 - 2 : () => coarse(random) / 2;
      using q = draw(random, [batch, heads, length, key_dims], { item });
      using k = draw(random, [batch, kv_heads, total, key_dims], { item, dtype: stored });
      using v = draw(random, [batch, kv_heads, total, value_dims], { item, dtype: stored });
      using sinks = draw(random, [heads], { item });
      using mask = drawMask(random, how);
      if (hidesARow(how, mask)) continue;
      const with_mask = how.mask === "boolean" || how.mask === "additive";
      using y = attend(
        q.array,
        k.array,
        v.array,
        how.mask,
        with_mask ? mask.array : undefined,
        how.sinks ? sinks.array : undefined,
      );
      const error = worstError(toFloat32(y), attended(how, q, k, v, mask, sinks));
      expect({ turn, ...how, error: error < ERROR_MAX ? 0 : error }).toEqual({ turn, ...how, error: 0 });
    }
  });
}

test("NaN and infinity reach the rows that see them and no others", () => {
  const random = seeded(9);
  using q = draw(random, [1, 1, 3, 16], { item: (next) => 1 + next() });
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const keys = Float32Array.from({ length: 3 * 16 }, random);
    const values = Float32Array.from({ length: 3 * 16 }, random);
    values[2 * 16 + 4] = odd; // the last of three keys: only the last query sees it
    using k = fromBytes(keys, [1, 1, 3, 16], "float32");
    using v = fromBytes(values, [1, 1, 3, 16], "float32");
    using y = attend(q.array, k, v, "none");
    expect(Array.from(toFloat32(y), Number.isFinite)).toEqual(Array.from({ length: 48 }, (_, at) => at % 16 !== 4));
    keys[16] = odd;
    using broken = fromBytes(keys, [1, 1, 3, 16], "float32");
    using nothing = attend(q.array, broken, k, "none");
    expect(Array.from(toFloat32(nothing)).some(Number.isFinite)).toBe(false);
  }
});

test("a float mask that hides every key of a row gives NaN in it, as softmax does", () => {
  const random = seeded(10);
  using q = draw(random, [1, 2, 2, 16]);
  using mask = fromBytes(Float32Array.of(0, -Infinity, -Infinity, -Infinity), [2, 2], "float32");
  using y = attend(q.array, q.array, q.array, "additive", mask);
  expect(Array.from(toFloat32(y), Number.isNaN)).toEqual(Array.from({ length: 64 }, (_, at) => at % 32 >= 16));
});

testNoFallbacks();
