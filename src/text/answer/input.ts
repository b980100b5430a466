/** A text that arrives in pieces, for parsers that are generators: one yields when it needs more. Knows no format. */

/**
 * Yields while the text that has arrived leaves something open; so what it finds never depends on where the pieces were
 * cut.
 */
export type Parse<Result = void> = Generator<void, Result, void>;

/** Ends the parse of a call: the text is not one, or it ended inside of one. */
export class NotACall {
  readonly trouble: "malformed" | "unfinished";
  readonly reason: string;

  constructor(trouble: NotACall["trouble"], reason: string) {
    this.trouble = trouble;
    this.reason = reason;
  }
}

export function malformed(reason: string): never {
  throw new NotACall("malformed", reason);
}

export function unfinished(reason: string): never {
  throw new NotACall("unfinished", reason);
}

export class Input {
  #text = "";
  #at = 0;
  /** What lies behind it is accounted for: it was made into events. */
  #settled = 0;
  #ended = false;
  /** Units that were let go. */
  #gone = 0;

  /** How many units were read. */
  get position(): number {
    return this.#gone + this.#at;
  }

  push(text: string): void {
    this.#text = this.#text.slice(this.#settled) + text;
    this.#at -= this.#settled;
    this.#gone += this.#settled;
    this.#settled = 0;
  }

  end(): void {
    this.#ended = true;
  }

  /** No more text will come. */
  get isEnded(): boolean {
    return this.#ended;
  }

  /** All that has been read is accounted for. */
  settle(): void {
    this.#settled = this.#at;
  }

  /** What was read and is not accounted for; it is now. */
  takeUnsettled(): string {
    const text = this.#text.slice(this.#settled, this.#at);
    this.settle();
    return text;
  }

  /** What has arrived and was not read. */
  unread(): string {
    return this.#text.slice(this.#at);
  }

  skip(length: number): void {
    this.#at += length;
  }

  /** The next UTF-16 unit, "" at the end. */
  *peek(): Parse<string> {
    while (this.#at >= this.#text.length && !this.#ended) yield;
    return this.#text[this.#at] ?? "";
  }

  *startsWith(mark: string): Parse<boolean> {
    for (;;) {
      const there = this.#text.slice(this.#at, this.#at + mark.length);
      if (there === mark) return true;
      if (this.#ended || !mark.startsWith(there)) return false;
      yield;
    }
  }

  *take(mark: string): Parse<boolean> {
    if (!(yield* this.startsWith(mark))) return false;
    this.#at += mark.length;
    return true;
  }

  /** The longest of `marks` that stands here. */
  *takeAny(marks: readonly string[]): Parse<string | null> {
    let longest: string | null = null;
    for (const mark of marks) {
      if (mark.length > (longest?.length ?? 0) && (yield* this.startsWith(mark))) longest = mark;
    }
    this.#at += longest?.length ?? 0;
    return longest;
  }

  *takeWhile(isWanted: (unit: string) => boolean): Parse<string> {
    let text = "";
    for (let unit = yield* this.peek(); unit !== "" && isWanted(unit); unit = yield* this.peek()) {
      text += unit;
      this.#at += 1;
    }
    return text;
  }

  *space(): Parse<string> {
    return yield* this.takeWhile((unit) => /\s/.test(unit));
  }

  /** The tag that begins here, "" if there is none of at most `TAG_LENGTH_MAX`; it is not taken. */
  *peekTag(): Parse<string> {
    for (;;) {
      const there = this.#text.slice(this.#at, this.#at + TAG_LENGTH_MAX);
      const end = there.indexOf(">");
      if (end >= 0) return there.slice(0, end + 1);
      if (this.#ended || there.length === TAG_LENGTH_MAX) return "";
      yield;
    }
  }

  /**
   * Gives `write` the text before the first of `all`, as far as it is certain, and stays before it; null at the end.
   * What it looks for may depend on what was written.
   */
  *until(all: readonly string[] | (() => readonly string[]), write: (text: string) => void): Parse<string | null> {
    for (;;) {
      const stops = typeof all === "function" ? all() : all;
      const text = this.#text.slice(this.#at);
      const found = firstOf(stops, text);
      const open = this.#ended ? text.length : beginningOf(stops, text, found?.at ?? text.length);
      const certain = Math.min(found?.at ?? text.length, open);
      this.#at += certain;
      if (certain > 0) write(text.slice(0, certain));
      if (found !== null && found.at < open) return found.stop;
      if (this.#ended) return null;
      yield;
    }
  }
}

/** A tool's name is at most 64 characters in OpenAI's protocol; some templates put more into the tag. */
const TAG_LENGTH_MAX = 256;

function firstOf(stops: readonly string[], text: string): { at: number; stop: string } | null {
  let first: { at: number; stop: string } | null = null;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at < 0 || (first !== null && at > first.at)) continue;
    if (first === null || at < first.at || stop.length > first.stop.length) first = { at, stop };
  }
  return first;
}

/** Where the end of `text` may be the beginning of a stop that starts at or before `at_most`; else the text's length. */
function beginningOf(stops: readonly string[], text: string, at_most: number): number {
  const longest = Math.max(0, ...stops.map((stop) => stop.length));
  for (let at = Math.max(0, text.length - longest + 1); at <= at_most && at < text.length; at++) {
    const rest = text.slice(at);
    if (stops.some((stop) => stop.length > rest.length && stop.startsWith(rest))) return at;
  }
  return text.length;
}
