/** Draws the next token of a row from its logits, on the device. Knows no row and no text. */

import { assert } from "../core/assert.ts";
import type { Sampling } from "../core/generation.ts";
import { type MlxArray, scalar, toUint32 } from "../mlx/array.ts";
import {
  argmax,
  categorical,
  cumsumAfter,
  divide,
  less,
  max,
  min,
  minimum,
  multiply,
  randomKey,
  softmax,
  sort,
  topk,
  where,
} from "../mlx/ops.ts";

// Logits divided by less overflow float32 or come near it, and the best token has all the probability anyhow.
const GREEDY_BELOW = 1e-6;

export function isGreedy(how: Sampling): boolean {
  return how.temperature < GREEDY_BELOW;
}

/** The best token of each row of `logits` (rows, vocabulary). */
export function bestTokens(logits: MlxArray): Uint32Array {
  using best = argmax(logits, -1);
  return toUint32(best);
}

/**
 * One token of a row that is not greedy. `logits` (1, vocabulary), float32. The order is that of Hugging Face transformers: temperature, top_k, top_p, min_p.
 * `step` counts the row's drawn tokens: the same seed gives the same token at the same step, whatever runs beside it.
 */
export function sample(logits: MlxArray, how: Sampling, step: number): number {
  using temperature = scalar(how.temperature);
  using scaled = divide(logits, temperature);
  using kept_k = how.top_k > 0 ? keepTopK(scaled, how.top_k) : null;
  using kept_p = how.top_p < 1 ? keepTopP(kept_k ?? scaled, how.top_p) : null;
  using kept_m = how.min_p > 0 ? keepMinP(kept_p ?? kept_k ?? scaled, how.min_p) : null;
  using key = randomKey(mix(how.seed, step));
  using drawn = categorical(kept_m ?? kept_p ?? kept_k ?? scaled, key);
  const [token] = toUint32(drawn);
  assert(token !== undefined, "one row gives one token");
  return token;
}

/** Only the `k` best, and those equal to the last of them. */
function keepTopK(logits: MlxArray, k: number): MlxArray {
  const vocabulary = logits.shape[1] ?? 0;
  using best = topk(logits, Math.min(k, vocabulary), -1);
  using threshold = min(best, -1);
  return dropBelow(logits, threshold);
}

/** The smallest set of best tokens whose probabilities reach `p` (Holtzman et al. 2019, arXiv:1904.09751); never none. */
function keepTopP(logits: MlxArray, p: number): MlxArray {
  using ascending = sort(logits, -1);
  using probabilities = softmax(ascending, -1);
  using better = cumsumAfter(probabilities, -1); // the mass of all better tokens
  using limit = scalar(p);
  using inside = less(better, limit);
  using infinity = scalar(Number.POSITIVE_INFINITY);
  using kept = where(inside, ascending, infinity);
  using worst_kept = min(kept, -1);
  using best = max(logits, -1);
  using threshold = minimum(worst_kept, best); // p = 0 keeps nothing: keep the best
  return dropBelow(logits, threshold);
}

/** Tokens at least `p` times as probable as the best one. */
function keepMinP(logits: MlxArray, p: number): MlxArray {
  using probabilities = softmax(logits, -1);
  using best = max(probabilities, -1);
  using share = scalar(p);
  using threshold = multiply(best, share);
  using dropped = less(probabilities, threshold);
  using nothing = scalar(Number.NEGATIVE_INFINITY);
  return where(dropped, nothing, logits);
}

function dropBelow(logits: MlxArray, threshold: MlxArray): MlxArray {
  using dropped = less(logits, threshold);
  using nothing = scalar(Number.NEGATIVE_INFINITY);
  return where(dropped, nothing, logits);
}

/** One 64-bit seed for each pair: the finaliser of SplitMix64 (Steele et al. 2014) over both. */
function mix(seed: number, step: number): bigint {
  let z = BigInt.asUintN(64, BigInt(seed) + (BigInt(step) + 1n) * 0x9e3779b97f4a7c15n);
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}
