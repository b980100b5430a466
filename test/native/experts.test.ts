/** Products with the matrices that indices name, against float64, in the forms in which mixtures of experts call them. */

import { expect, test } from "bun:test";
import { evaluate, fromBytes, type MlxArray, toFloat32 } from "../../src/mlx/array.ts";
import { transpose } from "../../src/mlx/ops.ts";
import { integer, seeded } from "../random.ts";
import { coarse, draw, more, pick, present, result, sizeOf, testNoFallbacks } from "./arrays.ts";
import { unpack } from "./packed.ts";

// Sums in another order: a few roundings of 2^-24 of what is added up.
const ERROR_MAX = 1e-5;

const affine = new TextEncoder().encode("affine\0");

type Random = () => number;

interface Case {
  readonly experts: number;
  readonly matrix_rows: number;
  readonly columns: number;
  /** Of x before (rows, columns), and of the places of the result. */
  readonly leading: readonly number[];
  readonly places: readonly number[];
  readonly rows: number;
  /** Row-major over `places`: what each takes of x, and which matrix. */
  readonly sources: readonly number[];
  readonly chosen: readonly number[];
  readonly names_sources: boolean;
  readonly sorted: boolean;
}

function randomCase(random: Random, columns: number): Case {
  const experts = integer(random, 1, 6);
  const common = { experts, matrix_rows: integer(random, 1, 70), columns };
  const any = (count: number, below: number) => Array.from({ length: count }, () => integer(random, 0, below - 1));
  const [batch, length, each, rows] = [
    integer(random, 1, 2),
    integer(random, 1, 9),
    integer(random, 1, 3),
    pick(random, [1, 1, 2]),
  ];
  switch (pick(random, ["unsorted", "sorted", "named"])) {
    case "unsorted": {
      // x (batch, length, 1, rows, columns), indices (batch, length, each)
      const places = [batch, length, each];
      const sources = Array.from({ length: sizeOf(places) }, (_, at) => Math.floor(at / each));
      const chosen = any(sizeOf(places), experts);
      return {
        ...common,
        leading: [batch, length, 1],
        places,
        rows,
        sources,
        chosen,
        names_sources: false,
        sorted: false,
      };
    }
    case "sorted": {
      // one place for each row of x, by expert
      const count = length * each * 4;
      const chosen = any(count, experts).toSorted((a, b) => a - b);
      const sources = chosen.map((_, at) => at);
      return {
        ...common,
        leading: [count],
        places: [count],
        rows,
        sources,
        chosen,
        names_sources: false,
        sorted: true,
      };
    }
    case "named": {
      const places = [length, each];
      const sources = any(sizeOf(places), batch * 3);
      const chosen = any(sizeOf(places), experts);
      return { ...common, leading: [batch, 3], places, rows, sources, chosen, names_sources: true, sorted: false };
    }
  }
}

/** The greatest error relative to the sum of what was added; `weightOf(expert, row)` gives a row of a matrix. */
function worstProductError(
  how: Case,
  x: Float32Array,
  found: Float32Array,
  weightOf: (at: number) => Float64Array,
): number {
  const { matrix_rows, columns, rows, sources, chosen } = how;
  const weights = new Map<number, Float64Array>();
  let worst = found.length === chosen.length * rows * matrix_rows ? 0 : Number.POSITIVE_INFINITY;
  for (const [at, value] of found.entries()) {
    const [place, row] = [Math.floor(at / matrix_rows / rows), Math.floor(at / matrix_rows) % rows];
    const name = (chosen[place] ?? 0) * matrix_rows + (at % matrix_rows);
    const weight = weights.get(name) ?? weightOf(name);
    weights.set(name, weight);
    const from = ((sources[place] ?? 0) * rows + row) * columns;
    let sum = 0;
    let size = 1e-9;
    for (let column = 0; column < columns; column++) {
      const term = (x[from + column] ?? 0) * (weight[column] ?? 0);
      sum += term;
      size += Math.abs(term);
    }
    worst = Math.max(worst, Math.abs(value - sum) / size);
  }
  return worst;
}

function indicesOf(how: Case): { lhs: MlxArray | null; rhs: MlxArray; [Symbol.dispose]: () => void } {
  const lhs = how.names_sources ? fromBytes(Uint32Array.from(how.sources), how.places, "uint32") : null;
  const rhs = fromBytes(Uint32Array.from(how.chosen), how.places, "uint32");
  return {
    lhs,
    rhs,
    [Symbol.dispose]: () => {
      lhs?.[Symbol.dispose]();
      rhs[Symbol.dispose]();
    },
  };
}

function quantised(random: Random): { how: object; error: number; shape: number[]; places: readonly number[] } {
  const bits = pick(random, [2, 3, 4, 5, 6, 8]);
  const group_size = pick(random, [32, 64, 128]);
  const how = randomCase(random, group_size * integer(random, 1, 4));
  const { experts, matrix_rows, columns, leading, rows } = how;
  const stored = pick(random, ["float32", "float16", "bfloat16"]);
  const groups = columns / group_size;
  const words = Uint32Array.from({ length: (experts * matrix_rows * columns * bits) / 32 }, () => random() * 2 ** 32);
  using x = draw(random, [...leading, rows, columns]);
  using w = fromBytes(words, [experts, matrix_rows, (columns * bits) / 32], "uint32");
  using scales = draw(random, [experts, matrix_rows, groups], { dtype: stored, item: coarse });
  using biases = draw(random, [experts, matrix_rows, groups], { dtype: stored, item: coarse });
  using indices = indicesOf(how);
  using y = result((slot, stream) =>
    more.mlx_gather_qmm(
      slot,
      x.array.handle,
      w.handle,
      scales.array.handle,
      biases.array.handle,
      indices.lhs?.handle ?? null,
      indices.rhs.handle,
      true,
      present(group_size, "int"),
      present(bits, "int"),
      affine,
      how.sorted,
      stream,
    ),
  );
  const error = worstProductError(how, x.values, toFloat32(y), (name) =>
    Float64Array.from({ length: columns }, (_, column) => {
      const group = name * groups + Math.floor(column / group_size);
      return (scales.values[group] ?? 0) * unpack(words, name * columns + column, bits) + (biases.values[group] ?? 0);
    }),
  );
  return {
    how: { ...how, bits, group_size, stored },
    error,
    shape: y.shape,
    places: [...how.places, rows, matrix_rows],
  };
}

function dense(random: Random): { how: object; error: number; shape: number[]; places: readonly number[] } {
  const how = randomCase(random, integer(random, 1, 150));
  const { experts, matrix_rows, columns, leading, rows } = how;
  const stored = pick(random, ["float32", "float16", "bfloat16"]);
  const computed = random() < 0.5; // before the call, as weights are
  using x = draw(random, [...leading, rows, columns]);
  using by_rows = draw(random, [experts, matrix_rows, columns], { dtype: stored, item: coarse });
  using w = transpose(by_rows.array, [0, 2, 1]);
  if (computed) evaluate(w);
  using indices = indicesOf(how);
  using y = result((slot, stream) =>
    more.mlx_gather_mm(
      slot,
      x.array.handle,
      w.handle,
      indices.lhs?.handle ?? null,
      indices.rhs.handle,
      how.sorted,
      stream,
    ),
  );
  const error = worstProductError(how, x.values, toFloat32(y), (name) =>
    Float64Array.from(by_rows.values.subarray(name * columns, (name + 1) * columns)),
  );
  return { how: { ...how, stored, computed }, error, shape: y.shape, places: [...how.places, rows, matrix_rows] };
}

for (const seed of [1, 2, 3]) {
  test(`50 random mixtures are those of float64 (seed ${seed})`, () => {
    const random = seeded(seed);
    for (let turn = 0; turn < 50; turn++) {
      const { how, error, shape, places } = (random() < 0.5 ? quantised : dense)(random);
      expect({ turn, how, shape, error: error < ERROR_MAX ? 0 : error }).toEqual({
        turn,
        how,
        shape: [...places],
        error: 0,
      });
    }
  });
}

test("an index beyond the stack is refused", () => {
  using x = fromBytes(new Float32Array(32), [1, 1, 32], "float32");
  using w = fromBytes(new Float32Array(2 * 32), [2, 32, 1], "float32");
  using beyond = fromBytes(Uint32Array.of(2), [1], "uint32");
  using y = result((slot, stream) => more.mlx_gather_mm(slot, x.handle, w.handle, null, beyond.handle, false, stream));
  expect(() => evaluate(y)).toThrow("Index 2 of a stack of 2 matrices");
});

testNoFallbacks();
