/**
 * Keeps what a caller wrote from being read as control tokens: a mark is put inside whatever in its text could become one,
 * travels through the chat template, and is taken out again; where it was, no control token may stand.
 */

import { Failure } from "../core/failure.ts";
import type { AddedTokens } from "./added-tokens.ts";

export interface Rendered {
  readonly text: string;
  /** Offsets where marks were, ascending. */
  readonly seams: readonly number[];
}

export class ContentGuard {
  readonly #control: AddedTokens;
  readonly #mark: string;
  /** Stands in nothing that the caller wrote or that the guard writes: where it comes out of a template, it was put. */
  readonly end: string;

  /** `written`: all that a caller wrote, as a value of JSON. */
  constructor(written: unknown, control: AddedTokens) {
    const texts = JSON.stringify(written);
    this.#control = control;
    this.#mark = unusedMark(texts);
    this.end = unusedMark(texts + this.#mark);
  }

  guard(text: string): string {
    return marked(text, this.#control, this.#mark);
  }

  /** Every text in it, be it a key or a value, however deep. */
  guardFields(object: object): Record<string, unknown> {
    return Object.fromEntries(Object.entries(object).map(([key, value]) => [this.guard(key), this.#guardValue(value)]));
  }

  unguard(rendered: string): Rendered {
    const pieces = rendered.split(this.#mark);
    const seams: number[] = [];
    let length = 0;
    for (const piece of pieces.slice(0, -1)) {
      length += piece.length;
      seams.push(length);
    }
    return { text: pieces.join(""), seams };
  }

  #guardValue(value: unknown): unknown {
    if (typeof value === "string") return this.guard(value);
    if (Array.isArray(value)) return value.map((item) => this.#guardValue(item));
    return typeof value === "object" && value !== null ? this.guardFields(value) : value;
  }
}

/** Private use planes 15 and 16: no template and no vocabulary gives their characters a meaning. */
const MARK_FIRST = 0xf0000;
const MARK_LAST = 0x10fffd;

function entriesOf(object: object, mark: (text: string) => string): [string, unknown][] {
  return Object.entries(object).map(([key, value]) => [mark(key), withMarks(value, mark)]);
}

function withMarks(value: unknown, mark: (text: string) => string): unknown {
  if (typeof value === "string") return mark(value);
  if (Array.isArray(value)) return value.map((item) => withMarks(item, mark));
  return typeof value === "object" && value !== null ? Object.fromEntries(entriesOf(value, mark)) : value;
}

function unusedMark(texts: string): string {
  for (let code = MARK_FIRST; code <= MARK_LAST; code++) {
    const mark = String.fromCodePoint(code);
    if (!texts.includes(mark)) return mark;
  }
  throw new Failure("invalid_request", "Cannot use these messages: they hold all private characters", "messages");
}

/** The mark stands behind the first character of what is, or at the end of the message may become, a control token. */
function marked(content: string, control: AddedTokens, mark: string): string {
  // A template may trim the message, so its end is before the white space; a token that goes on there goes on behind it too.
  const trimmed = content.trimEnd().length;
  let text = "";
  let done = 0;
  for (let at = 0; at < trimmed; at++) {
    if (!control.mayBeginAt(content, at, trimmed)) continue;
    const behind = at + ((content.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);
    text += content.slice(done, behind) + mark;
    done = behind;
  }
  return text + content.slice(done);
}
