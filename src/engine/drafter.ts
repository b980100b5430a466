/** Guesses a row's next tokens from its own text, and learns whether guessing pays there. Knows no model. */

const SIZES = [3, 2]; // one token alone repeats too often by chance
const DRAFT_TOKENS = { min: 4, max: 8 };
const ACCEPTANCE_AT_FIRST = 0.5;
const ACCEPTANCE_WEIGHT = 0.25; // of the newest draft
const RECOVERY = 0.002; // a step: after some hundred steps without drafts the text may have become one that repeats

export class Drafter {
  /** Share of drafted tokens that the model would have drawn too. */
  #acceptance = ACCEPTANCE_AT_FIRST;

  /** Up to `count_max` tokens; none where drafts are accepted more rarely than `acceptance_min`. */
  propose(token_ids: readonly number[], count_max: number, acceptance_min: number): number[] {
    if (this.#acceptance < acceptance_min) {
      this.#acceptance = Math.min(1, this.#acceptance + RECOVERY);
      return [];
    }
    const { min, max } = DRAFT_TOKENS;
    const count = Math.round(min + (max - min) * this.#acceptance);
    return lookUp(token_ids, Math.min(count, count_max));
  }

  observe(drafted: number, accepted: number): void {
    if (drafted === 0) return;
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
