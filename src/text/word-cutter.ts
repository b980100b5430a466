/** Cuts a word that is too long to be merged at once, where no token of the vocabulary reaches across. Knows no merges. */

export class WordCutter {
  readonly #vocabulary: ReadonlyMap<string, unknown>;
  #neighbours: ReadonlySet<number> | null = null;

  constructor(vocabulary: ReadonlyMap<string, unknown>) {
    this.#vocabulary = vocabulary;
  }

  /** The pieces have the tokens of the whole, unless 2048 characters in a row are all neighbours in some token. */
  cut(word: string): readonly string[] {
    if (word.length <= UNITS_MAX) return [word];
    const pieces: string[] = [];
    let start = 0;
    while (word.length - start > UNITS_MAX) {
      const end = this.#seam(word, start + UNITS_MAX);
      pieces.push(word.slice(start, end));
      start = end;
    }
    return [...pieces, word.slice(start)];
  }

  /** The last good place to cut in the half before `end`, else the last possible one. */
  #seam(word: string, end: number): number {
    this.#neighbours ??= neighboursIn(this.#vocabulary.keys());
    for (let at = end; at > end - UNITS_MAX / 2; at--) {
      if (!this.#neighbours.has(pair(word, at)) && this.#isKnown(characterBefore(word, at))) return at;
    }
    return isInCharacter(word, end) ? end - 1 : end;
  }

  /** Unknown characters in a row may become one unknown token. */
  #isKnown(character: string): boolean {
    return this.#vocabulary.has(character);
  }
}

/**
 * In UTF-16 units. The library keeps some 300 bytes a unit while it merges a word, and sorts them all in one heap;
 * words of a language and tokens are far shorter.
 */
const UNITS_MAX = 4096;

/** Every two units that stand side by side in a token: only there can a merge join what a cut would part. */
function neighboursIn(tokens: Iterable<string>): Set<number> {
  const found = new Set<number>();
  for (const token of tokens) {
    for (let at = 1; at < token.length; at++) found.add(pair(token, at));
  }
  return found;
}

function pair(text: string, at: number): number {
  return text.charCodeAt(at - 1) * 0x10000 + text.charCodeAt(at);
}

function characterBefore(text: string, at: number): string {
  return text.slice(isInCharacter(text, at - 1) ? at - 2 : at - 1, at);
}

/** Whether the character that is represented by two units would be cut. */
function isInCharacter(text: string, at: number): boolean {
  return (text.codePointAt(at - 1) ?? 0) > 0xffff;
}
