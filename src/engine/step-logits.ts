/** The logits of one forward pass, on the device until someone asks. Knows no row's wishes. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { type MlxArray, readFloat32, toUint32 } from "../mlx/array.ts";
import { argmax } from "../mlx/ops.ts";

export class StepLogits implements Disposable {
  readonly #logits: MlxArray;
  /** For one output's logits; the next pass may use it again. */
  readonly #buffer: Float32Array;
  #best_tokens: Uint32Array | null = null;

  /** `logits` (outputs, vocabulary), float32; `buffer` takes a vocabulary. */
  constructor(logits: MlxArray, buffer: Float32Array) {
    this.#logits = logits;
    this.#buffer = buffer;
  }

  /** Throws a `Failure` when its logit is not a finite number. */
  bestToken(output: number): number {
    this.#best_tokens ??= bestTokens(this.#logits);
    const token = this.#best_tokens[output];
    assert(token !== undefined, "every output has a best token");
    const logit = new Float32Array(1);
    readFloat32(this.#logits, output * this.#buffer.length + token, logit);
    if (Number.isFinite(logit[0])) return token;
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

function bestTokens(logits: MlxArray): Uint32Array {
  using best = argmax(logits, -1);
  return toUint32(best);
}
