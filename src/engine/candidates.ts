/** The tokens a row may draw, step by step fewer, and their weights. Knows no row; the same on every device. */

import { Failure } from "../core/failure.ts";
import { EXPONENT_MIN, exponential } from "./exponential.ts";
import { Selection } from "./selection.ts";

/** Memory for the draws of a model: each row's take place in it one after another. */
export class Candidates {
  #count = 0;
  /** Sum of the weights. */
  #total = 0;
  readonly #ids: Uint32Array;
  /** Distances to the best logit in units of the temperature: 0 for the best token, the others below. */
  readonly #scores: Float64Array;
  /** Their exponentials. */
  readonly #weights: Float64Array;
  /** By what a filter puts the candidates in order. */
  readonly #keys: Float64Array;
  readonly #ones: Float64Array;
  readonly #selection: Selection;

  constructor(vocabulary_size: number) {
    this.#ids = new Uint32Array(vocabulary_size);
    this.#scores = new Float64Array(vocabulary_size);
    this.#weights = new Float64Array(vocabulary_size);
    this.#keys = new Float64Array(vocabulary_size);
    this.#ones = new Float64Array(vocabulary_size).fill(1);
    this.#selection = new Selection(vocabulary_size);
  }

  /** All tokens whose probability matters. Throws a `Failure` when the model gave no number. */
  gather(logits: Float32Array, temperature: number): void {
    const best = logits[bestToken(logits)] ?? 0;
    const lowest = best + EXPONENT_MIN * temperature;
    let count = 0;
    for (let id = 0; id < logits.length; id++) {
      const logit = logits[id] ?? 0;
      if (logit >= lowest) {
        this.#ids[count] = id;
        this.#scores[count] = (logit - best) / temperature;
        count += 1;
      }
    }
    this.#count = count;
  }

  weigh(): void {
    let total = 0;
    for (let index = 0; index < this.#count; index++) {
      const weight = exponential(this.#scores[index] ?? 0);
      this.#weights[index] = weight;
      total += weight;
    }
    this.#total = total;
  }

  /** The `k` best, and those equal to the last of them. Needs no weights. */
  keepTopK(k: number): void {
    if (k >= this.#count) return;
    this.#orderByScore();
    this.#keepLeast(this.#ones, k);
  }

  /**
   * The fewest of the best whose probabilities reach `p`: the nucleus of Holtzman et al. 2019 (arXiv:1904.09751). Never
   * none.
   */
  keepTopP(p: number): void {
    this.#orderByScore();
    this.#keepLeast(this.#weights, p * this.#total);
  }

  /**
   * The fewest whose probabilities reach `p`, of those that surprise as much as a draw does on average
   * (Meister et al. 2022, arXiv:2202.00666). Never none.
   */
  keepTypical(p: number): void {
    let mean = 0;
    for (let index = 0; index < this.#count; index++) {
      mean += ((this.#weights[index] ?? 0) * (this.#scores[index] ?? 0)) / this.#total;
    }
    // Surprise and entropy are measured from the best token's: the same constant is in both.
    for (let index = 0; index < this.#count; index++) this.#keys[index] = Math.abs((this.#scores[index] ?? 0) - mean);
    this.#keepLeast(this.#weights, p * this.#total);
  }

  /** Those at least `p` times as probable as the best that is left. */
  keepMinP(p: number): void {
    this.#orderByScore();
    let least = Number.POSITIVE_INFINITY;
    for (let index = 0; index < this.#count; index++) least = Math.min(least, this.#keys[index] ?? 0);
    this.#keepUpTo(least - Math.log(p));
  }

  /** Of those at least as probable as `threshold` only the least probable, and all below it: "exclude top choices". */
  dropTopChoices(threshold: number): void {
    let highest = Number.POSITIVE_INFINITY;
    for (let index = 0; index < this.#count; index++) {
      const score = this.#scores[index] ?? 0;
      this.#keys[index] = score;
      if ((this.#weights[index] ?? 0) >= threshold * this.#total) highest = Math.min(highest, score);
    }
    this.#keepUpTo(highest);
  }

  /** The token at a place in [0, 1) of the probabilities side by side. */
  at(place: number): number {
    let rest = place * this.#total;
    for (let index = 0; index < this.#count - 1; index++) {
      rest -= this.#weights[index] ?? 0;
      if (rest < 0) return this.#ids[index] ?? 0;
    }
    return this.#ids[this.#count - 1] ?? 0;
  }

  #orderByScore(): void {
    for (let index = 0; index < this.#count; index++) this.#keys[index] = -(this.#scores[index] ?? 0);
  }

  #keepLeast(masses: Float64Array, mass: number): void {
    const count = this.#count;
    this.#keepUpTo(this.#selection.reach(this.#keys.subarray(0, count), masses.subarray(0, count), mass));
  }

  #keepUpTo(key: number): void {
    let kept = 0;
    let total = 0;
    for (let index = 0; index < this.#count; index++) {
      if ((this.#keys[index] ?? 0) > key) continue;
      const weight = this.#weights[index] ?? 0;
      this.#ids[kept] = this.#ids[index] ?? 0;
      this.#scores[kept] = this.#scores[index] ?? 0;
      this.#weights[kept] = weight;
      total += weight;
      kept += 1;
    }
    this.#count = kept;
    this.#total = total;
  }
}

/** The first of the greatest. Throws a `Failure` when there is no number, or one beyond all. */
export function bestToken(logits: Float32Array): number {
  let best = Number.NEGATIVE_INFINITY;
  let token = 0;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] ?? 0;
    if (logit > best) {
      best = logit;
      token = id;
    }
  }
  if (!Number.isFinite(best)) throw new Failure("engine", "Cannot draw a token: the model's logits are not finite");
  return token;
}
