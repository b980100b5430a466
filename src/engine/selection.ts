/** Finds how far an ascending order goes until it weighs enough, without sorting. Knows nothing of tokens. */

import { assert } from "../core/assert.ts";

// Each round leaves about one element in so many, and its sums stay in the first cache of a core.
const BINS = 1024;

export class Selection {
  readonly #keys: Float64Array;
  readonly #masses: Float64Array;
  readonly #bins = new Float64Array(BINS);

  constructor(elements_max: number) {
    this.#keys = new Float64Array(elements_max);
    this.#masses = new Float64Array(elements_max);
  }

  /**
   * The key at which the elements, in ascending order of their keys, first weigh `mass` together; the greatest if they never do.
   * One bin of keys crosses the mass: only its elements are looked at closer, in the same way.
   */
  reach(keys: Float64Array, masses: Float64Array, mass: number): number {
    assert(keys.length > 0 && keys.length === masses.length, "each of some elements has a mass");
    this.#keys.set(keys);
    this.#masses.set(masses);
    let count = keys.length;
    let before = 0;
    for (;;) {
      const { low, high } = rangeOf(this.#keys, count);
      if (low === high) return low;
      const scale = (BINS - 0.5) / (high - low); // half a bin less: rounding must not lead beyond the last
      const crossing = this.#crossing(count, low, scale, mass - before);
      before += crossing.before;
      count = this.#narrow(count, low, scale, crossing.bin);
    }
  }

  /** The bin in which the mass is reached, else the last with an element, and what those before it weigh. */
  #crossing(count: number, low: number, scale: number, mass: number): { bin: number; before: number } {
    const bins = this.#bins.fill(0);
    for (let index = 0; index < count; index++) {
      const bin = (((this.#keys[index] ?? 0) - low) * scale) | 0;
      bins[bin] = (bins[bin] ?? 0) + (this.#masses[index] ?? 0);
    }
    let before = 0;
    for (let bin = 0; bin < BINS - 1; bin++) {
      const next = before + (bins[bin] ?? 0);
      if (next >= mass && next > before) return { bin, before };
      before = next;
    }
    return { bin: BINS - 1, before };
  }

  #narrow(count: number, low: number, scale: number, bin: number): number {
    let kept = 0;
    for (let index = 0; index < count; index++) {
      const key = this.#keys[index] ?? 0;
      if ((((key - low) * scale) | 0) !== bin) continue;
      this.#keys[kept] = key;
      this.#masses[kept] = this.#masses[index] ?? 0;
      kept += 1;
    }
    assert(kept > 0 && kept < count, "a bin has some of the elements");
    return kept;
  }
}

function rangeOf(keys: Float64Array, count: number): { low: number; high: number } {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < count; index++) {
    const key = keys[index] ?? 0;
    if (key < low) low = key;
    if (key > high) high = key;
  }
  return { low, high };
}
