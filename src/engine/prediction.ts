/** A text that an answer is expected to repeat, in part or whole: what of it would come next. Knows no model and no row. */

/** As many of an answer's last tokens as its place in the text is found by. */
export const PLACE_TOKENS_MAX = 3;
const PLACE_TOKENS_MIN = 2; // one token alone stands everywhere

export class Prediction {
  /** Typed, so that a step seeks one in all of them in microseconds. */
  readonly #token_ids: Int32Array;
  /** Where the answer was found last: it goes on from there more often than from elsewhere. */
  #at = 0;

  constructor(token_ids: readonly number[]) {
    this.#token_ids = Int32Array.from(token_ids);
  }

  /** `last_ids`: the answer's last tokens, all of them where it is shorter than `PLACE_TOKENS_MAX`. */
  next(last_ids: readonly number[], count: number): number[] {
    const place = this.#placeBehind(last_ids);
    if (place === null) return [];
    this.#at = place;
    return [...this.#token_ids.subarray(place, place + count)];
  }

  #placeBehind(last_ids: readonly number[]): number | null {
    const is_begin = last_ids.length < PLACE_TOKENS_MAX && last_ids.every((id, index) => id === this.#token_ids[index]);
    if (is_begin) return last_ids.length;
    for (let size = Math.min(last_ids.length, PLACE_TOKENS_MAX); size >= PLACE_TOKENS_MIN; size--) {
      const sought = last_ids.slice(-size);
      const place = this.#find(sought, this.#at, this.#token_ids.length) ?? this.#find(sought, size, this.#at);
      if (place !== null) return place;
    }
    return null;
  }

  /** The end of the first such tokens that end at `from` or behind it, and not behind `until`. */
  #find(sought: readonly number[], from: number, until: number): number | null {
    const ids = this.#token_ids;
    const last = sought.at(-1) ?? 0;
    const first_end = Math.max(from, sought.length);
    for (let at = ids.indexOf(last, first_end - 1); at >= 0 && at < until; at = ids.indexOf(last, at + 1)) {
      if (sought.every((id, index) => id === ids[at + 1 - sought.length + index])) return at + 1;
    }
    return null;
  }
}
