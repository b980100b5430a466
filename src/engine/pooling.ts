/** Makes one vector of the vectors of a text's tokens, as they come. Counts in float64; knows no tensor. */

import type { Pooling } from "../core/purpose.ts";

export class Pooler {
  readonly #pools: readonly Pool[];

  constructor(pooling: readonly Pooling[], width: number) {
    this.#pools = pooling.map((how) => POOLS[how](width));
  }

  /** The next tokens' vectors, one behind the other. */
  add(vectors: Float32Array, count: number): void {
    const width = vectors.length / count;
    for (let token = 0; token < count; token++) {
      const vector = vectors.subarray(token * width, (token + 1) * width);
      for (const pool of this.#pools) pool.add(vector);
    }
  }

  /** Of several ways the results lie side by side. */
  result(): Float32Array {
    return Float32Array.from(this.#pools.flatMap((pool) => Array.from(pool.result())));
  }
}

interface Pool {
  add(vector: Float32Array): void;
  result(): Iterable<number>;
}

const POOLS: Readonly<Record<Pooling, (width: number) => Pool>> = {
  cls: () => first(),
  last: () => last(),
  max: (width) => greatest(width),
  mean: (width) =>
    weighted(
      width,
      () => 1,
      (weights) => weights,
    ),
  mean_sqrt: (width) => weighted(width, () => 1, Math.sqrt),
  weighted_mean: (width) =>
    weighted(
      width,
      (token) => token + 1,
      (weights) => weights,
    ),
};

function first(): Pool {
  let kept: Float32Array | null = null;
  return {
    add(vector) {
      kept ??= vector.slice();
    },
    result: () => kept ?? [],
  };
}

function last(): Pool {
  let kept = new Float32Array();
  return {
    add(vector) {
      kept = vector.slice();
    },
    result: () => kept,
  };
}

function greatest(width: number): Pool {
  const kept = new Float64Array(width).fill(Number.NEGATIVE_INFINITY);
  return {
    add(vector) {
      for (let index = 0; index < width; index++) kept[index] = Math.max(kept[index] ?? 0, vector[index] ?? 0);
    },
    result: () => kept,
  };
}

function weighted(width: number, weight: (token: number) => number, divisor: (weights: number) => number): Pool {
  const sums = new Float64Array(width);
  let tokens = 0;
  let weights = 0;
  return {
    add(vector) {
      const share = weight(tokens);
      for (let index = 0; index < width; index++) sums[index] = (sums[index] ?? 0) + share * (vector[index] ?? 0);
      tokens += 1;
      weights += share;
    },
    result: () => sums.map((sum) => sum / divisor(weights)),
  };
}
