/** Finds stop strings in a text that comes in chunks. Knows nothing of tokens. */

export interface Checked {
  /** What may be sent now. */
  readonly text: string;
  /** A stop string is complete; it and what follows is never sent. */
  readonly found: boolean;
}

/** The stop string that is complete first wins; of two that are complete at once, the one that began first. */
export class StopFinder {
  readonly #stops: readonly string[];
  #held = "";
  #found = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  push(text: string): Checked {
    if (this.#found) return { text: "", found: true };
    const whole = this.#held + text;
    const cut = this.#cutOf(whole);
    if (cut !== null) {
      this.#found = true;
      this.#held = "";
      return { text: whole.slice(0, cut), found: true };
    }
    const safe = whole.length - this.#heldLength(whole);
    this.#held = whole.slice(safe);
    return { text: whole.slice(0, safe), found: false };
  }

  /** What was held back because it might have become a stop string. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  #cutOf(text: string): number | null {
    let end_min = Number.POSITIVE_INFINITY;
    let cut: number | null = null;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      const end = start + stop.length;
      if (start < 0 || end > end_min || (end === end_min && start > (cut ?? 0))) continue;
      end_min = end;
      cut = start;
    }
    return cut;
  }

  /** The longest end of `text` that begins a stop string. */
  #heldLength(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
