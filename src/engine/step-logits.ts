/** The logits of one forward pass, on the device until someone asks. Knows no row's wishes. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { evaluate, type MlxArray, readFloat32, toFloat32, toUint32 } from "../mlx/array.ts";
import { argmax, reshape, takeAlong } from "../mlx/ops.ts";

export class StepLogits implements Disposable {
  readonly #logits: MlxArray;
  /** For one output's logits; the next pass may use it again. */
  readonly #buffer: Float32Array;
  #best: Best | null = null;

  /** `logits` (outputs, vocabulary), float32; `buffer` takes a vocabulary. */
  constructor(logits: MlxArray, buffer: Float32Array) {
    this.#logits = logits;
    this.#buffer = buffer;
  }

  /** Throws a `Failure` when its logit is not a finite number. */
  bestToken(output: number): number {
    this.#best ??= bestOf(this.#logits);
    const token = this.#best.tokens[output];
    assert(token !== undefined, "every output has a best token");
    if (Number.isFinite(this.#best.logits[output])) return token;
    throw new Failure("engine", "Cannot draw a token: the model's logits are not finite");
  }

  /** To be read before the next is asked for. */
  read(output: number): Float32Array {
    readFloat32(this.#logits, output * this.#buffer.length, this.#buffer);
    return this.#buffer;
  }

  [Symbol.dispose](): void {
    this.#logits[Symbol.dispose]();
  }
}

/** The best token of each output, and its logit. */
interface Best {
  readonly tokens: Uint32Array;
  readonly logits: Float32Array;
}

function bestOf(logits: MlxArray): Best {
  using best = argmax(logits, -1);
  using places = reshape(best, [-1, 1]);
  using values = takeAlong(logits, places, -1);
  evaluate(best, values);
  return { tokens: toUint32(best), logits: toFloat32(values) };
}
