/** Finds stop strings in a text that comes in chunks. Knows nothing of tokens. */

export interface Checked {
  /** What may be sent now. */
  readonly text: string;
  /** The stop string that is complete; it and what follows is never sent. */
  readonly found: string | null;
}

interface Cut {
  readonly start: number;
  readonly stop: string;
}

/** The stop string that is complete first wins; of two that are complete at once, the one that began first. */
export class StopFinder {
  readonly #stops: readonly string[];
  #held = "";
  #found: string | null = null;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  push(text: string): Checked {
    if (this.#found !== null) return { text: "", found: this.#found };
    const whole = this.#held + text;
    const cut = this.#cutOf(whole);
    if (cut !== null) {
      this.#found = cut.stop;
      this.#held = "";
      return { text: whole.slice(0, cut.start), found: cut.stop };
    }
    const safe = whole.length - this.#heldLength(whole);
    this.#held = whole.slice(safe);
    return { text: whole.slice(0, safe), found: null };
  }

  /** What was held back because it might have become a stop string. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  #cutOf(text: string): Cut | null {
    let end_min = Number.POSITIVE_INFINITY;
    let cut: Cut | null = null;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      const end = start + stop.length;
      if (start < 0 || end > end_min || (end === end_min && start > (cut?.start ?? 0))) continue;
      end_min = end;
      cut = { start, stop };
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
