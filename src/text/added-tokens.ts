/**
 * Finds the tokens that were added to a vocabulary in a text, before anything else looks at it: leftmost, then longest.
 * Knows nothing of the vocabulary itself.
 */

import type { JsonPart } from "./json-part.ts";
import { WORD_CHARACTERS } from "./tokenizer-parts.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  /** Takes the white space on its left with it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Looked for after normalisation, not before. */
  readonly normalized: boolean;
  readonly special: boolean;
}

export interface Piece {
  /** null: ordinary text. */
  readonly token: AddedToken | null;
  readonly text: string;
  /** Offset of `text` in the whole, in UTF-16 units. */
  readonly start: number;
}

/** Says whether this token may stand at `start … end`. */
export type Admission = (token: AddedToken, start: number, end: number) => boolean;

interface Node {
  readonly next: Map<number, Node>;
  token: AddedToken | null;
}

const WORD_AT_END = new RegExp(`[${WORD_CHARACTERS}]$`, "u");
const WORD_AT_START = new RegExp(`^[${WORD_CHARACTERS}]`, "u");
const SPACE = /\p{White_Space}/u;

export class AddedTokens {
  readonly #root: Node = { next: new Map(), token: null };

  /** `spelling` gives the text to look for. */
  constructor(tokens: readonly AddedToken[], spelling: (token: AddedToken) => string = (token) => token.content) {
    for (const token of tokens) this.#add(token, spelling(token));
  }

  split(text: string, admits: Admission): Piece[] {
    const pieces: Piece[] = [];
    let done = 0;
    const plain = (end: number) => {
      if (end > done) pieces.push({ token: null, text: text.slice(done, end), start: done });
    };
    let at = 0;
    while (at < text.length) {
      const found = this.#longestAt(text, at);
      if (found === null) {
        at += 1;
        continue;
      }
      const end = at + found.length;
      if (standsAlone(found.token, text, at, end) && admits(found.token, at, end)) {
        const { start, stop } = withSpace(found.token, text, at, end, done);
        plain(start);
        pieces.push({ token: found.token, text: text.slice(start, stop), start });
        done = stop;
      }
      at = Math.max(end, done);
    }
    plain(text.length);
    return pieces;
  }

  /** Whether a token stands at `at`, or could if more text followed `end`. */
  mayBeginAt(text: string, at: number, end: number): boolean {
    let node = this.#root;
    for (let index = at; index < end; index++) {
      const next = node.next.get(text.charCodeAt(index));
      if (next === undefined) return false;
      if (next.token !== null) return true;
      node = next;
    }
    return node !== this.#root;
  }

  #add(token: AddedToken, spelling: string): void {
    if (spelling === "") return;
    let node = this.#root;
    for (let index = 0; index < spelling.length; index++) {
      const code = spelling.charCodeAt(index);
      let next = node.next.get(code);
      if (next === undefined) {
        next = { next: new Map(), token: null };
        node.next.set(code, next);
      }
      node = next;
    }
    node.token = token;
  }

  #longestAt(text: string, at: number): { token: AddedToken; length: number } | null {
    let found: { token: AddedToken; length: number } | null = null;
    let node: Node | undefined = this.#root;
    for (let index = at; node !== undefined; index++) {
      if (node.token !== null) found = { token: node.token, length: index - at };
      node = node.next.get(text.charCodeAt(index));
    }
    return found;
  }
}

/** Reads one as the JSON files spell it. */
export function addedToken(part: JsonPart, id: number): AddedToken {
  const special = part.flag("special", false);
  return {
    id,
    content: part.text("content"),
    single_word: part.flag("single_word", false),
    lstrip: part.flag("lstrip", false),
    rstrip: part.flag("rstrip", false),
    normalized: part.flag("normalized", !special),
    special,
  };
}

function standsAlone(token: AddedToken, text: string, start: number, end: number): boolean {
  if (!token.single_word) return true;
  // Two units are enough to see one character.
  const before = text.slice(Math.max(0, start - 2), start);
  return !WORD_AT_END.test(before) && !WORD_AT_START.test(text.slice(end, end + 2));
}

function withSpace(token: AddedToken, text: string, start: number, end: number, done: number) {
  let left = start;
  let right = end;
  while (token.lstrip && left > done && SPACE.test(text.charAt(left - 1))) left -= 1;
  while (token.rstrip && right < text.length && SPACE.test(text.charAt(right))) right += 1;
  return { start: left, stop: right };
}
