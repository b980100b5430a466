/** Bounds what compiling one grammar may take, in steps that are the same on every machine. Knows nothing of grammars. */

import { Failure } from "../../core/failure.ts";

/** A step is about a state or an edge made: some 1 µs. Of 520 published schemas none takes a third of it. */
const STEPS_MAX = 1_500_000;

export class Budget {
  #left: number;
  readonly #what: string;

  /** `what`: the text that is compiled, in the caller's words. */
  constructor(what: string, steps_max = STEPS_MAX) {
    this.#what = what;
    this.#left = steps_max;
  }

  spend(steps: number): void {
    this.#left -= steps;
    if (this.#left >= 0) return;
    throw new Failure("invalid_request", `Cannot compile the ${this.#what}: it is too large to be enforced`);
  }
}
