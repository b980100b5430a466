/** A text that an answer is expected to repeat, in part or whole: what of it would come next. Knows no model and no row. */

/** As many of an answer's last tokens as its place in the text is found by. */
export const PLACE_TOKENS_MAX = 3;
const PLACE_TOKENS_MIN = 2; // one token alone stands everywhere

export class Prediction {
  readonly #token_ids: readonly number[];
  /** Where the answer was found last: it goes on from there more often than from elsewhere. */
  #at = 0;

  constructor(token_ids: readonly number[]) {
    this.#token_ids = token_ids;
  }

  /** `last_ids`: the answer's last tokens, all of them where it is shorter than `PLACE_TOKENS_MAX`. */
  next(last_ids: readonly number[], count: number): number[] {
    const place = this.#placeBehind(last_ids);
    if (place === null) return [];
    this.#at = place;
    return this.#token_ids.slice(place, place + count);
  }

  #placeBehind(last_ids: readonly number[]): number | null {
    const is_begin = last_ids.length < PLACE_TOKENS_MAX && last_ids.every((id, index) => id === this.#token_ids[index]);
    if (is_begin) return last_ids.length;
    for (let size = Math.min(last_ids.length, PLACE_TOKENS_MAX); size >= PLACE_TOKENS_MIN; size--) {
      const sought = last_ids.slice(-size);
      const place = this.#find(sought, this.#at) ?? this.#find(sought, size);
      if (place !== null) return place;
    }
    return null;
  }

  /** The end of the first such tokens that end at `from` or behind it. */
  #find(sought: readonly number[], from: number): number | null {
    for (let end = Math.max(from, sought.length); end <= this.#token_ids.length; end++) {
      if (sought.every((id, index) => id === this.#token_ids[end - sought.length + index])) return end;
    }
    return null;
  }
}
