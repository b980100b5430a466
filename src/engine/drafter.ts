/** Guesses a row's next tokens from a prediction or its own text, and learns whether guessing pays there. Knows no model. */

import type { Predicted } from "../core/generation.ts";
import { PLACE_TOKENS_MAX, Prediction } from "./prediction.ts";

const SIZES = [3, 2]; // one token alone repeats too often by chance
const DRAFT_TOKENS = { min: 4, max: 8 };
const ACCEPTANCE_AT_FIRST = 0.5;
const ACCEPTANCE_WEIGHT = 0.25; // of the newest draft
const RECOVERY = 0.002; // a step: after some hundred steps without drafts the text may have become one that repeats

export class Drafter {
  readonly #prediction: Prediction | null;
  readonly #repeats: boolean;
  /** Share of drafted tokens that the model would have drawn too. */
  #acceptance: number;
  #is_predicted = false;
  #accepted = 0;
  #rejected = 0;

  /** `repeats`: without a place in the prediction, the row's own text is looked at. */
  constructor(predicted_ids: readonly number[] = [], repeats = true) {
    this.#prediction = predicted_ids.length === 0 ? null : new Prediction(predicted_ids);
    this.#acceptance = this.#prediction === null ? ACCEPTANCE_AT_FIRST : 1;
    this.#repeats = repeats;
  }

  /** What has become of the drafts from the prediction, where there is one. */
  get predicted(): Predicted | undefined {
    if (this.#prediction === null) return undefined;
    return { accepted_tokens: this.#accepted, rejected_tokens: this.#rejected };
  }

  /**
   * Up to `count_max` tokens; none where drafts are accepted more rarely than `acceptance_min`. The answer has `drawn` of
   * the tokens.
   */
  propose(token_ids: readonly number[], count_max: number, acceptance_min: number, drawn = token_ids.length): number[] {
    if (this.#acceptance < acceptance_min && !this.#isUntried) {
      this.#acceptance = Math.min(1, this.#acceptance + RECOVERY);
      return [];
    }
    const { min, max } = DRAFT_TOKENS;
    const count = Math.round(min + (max - min) * this.#acceptance);
    const last_ids = token_ids.slice(token_ids.length - Math.min(drawn, PLACE_TOKENS_MAX));
    const expected = this.#prediction?.next(last_ids, Math.min(count, count_max)) ?? [];
    this.#is_predicted = expected.length > 0;
    if (this.#is_predicted || !this.#repeats) return expected;
    return this.#acceptance < acceptance_min ? [] : lookUp(token_ids, Math.min(count, count_max));
  }

  /** Whoever predicts an answer knows more of it than steps before could tell: once it is tried, whatever it costs. */
  get #isUntried(): boolean {
    return this.#prediction !== null && this.#accepted + this.#rejected === 0;
  }

  observe(drafted: number, accepted: number): void {
    if (drafted === 0) return;
    if (this.#is_predicted) {
      this.#accepted += accepted;
      this.#rejected += drafted - accepted;
    }
    this.#acceptance += ACCEPTANCE_WEIGHT * (accepted / drafted - this.#acceptance);
  }
}

/** What followed the latest earlier occurrence of the last tokens; a text that repeats itself goes on repeating. */
export function lookUp(token_ids: readonly number[], count: number): number[] {
  const size = SIZES.find((size) => earlier(token_ids, size) >= 0);
  if (size === undefined) return [];
  const from = earlier(token_ids, size) + size;
  const drafts: number[] = [];
  for (let index = 0; index < count; index++) {
    const token = token_ids[from + index] ?? drafts[from + index - token_ids.length];
    if (token !== undefined) drafts.push(token);
  }
  return drafts;
}

/** Where the last `size` tokens stood before, or -1. */
function earlier(token_ids: readonly number[], size: number): number {
  const last = token_ids.length - 1;
  for (let end = last - 1; end >= size - 1; end--) {
    let equal = 0;
    while (equal < size && token_ids[end - equal] === token_ids[last - equal]) equal += 1;
    if (equal === size) return end - size + 1;
  }
  return -1;
}
