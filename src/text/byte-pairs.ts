/**
 * Byte-pair encoding of one word at a time, equal to the Rust `tokenizers` package. Knows a vocabulary and its merges, both
 * found by their texts; knows nothing of how a text becomes words.
 */

import type { JsonPart } from "./json-part.ts";
import type { WordModel } from "./word-model.ts";

export class BytePairs implements WordModel {
  readonly ids: ReadonlyMap<string, number>;
  readonly texts: readonly string[];
  readonly unknown: string | null;
  readonly unknown_id: number | null;
  readonly bounds_words = false;
  /** By the two tokens with what parts them in between. */
  readonly #ranks: ReadonlyMap<string, number>;
  readonly #parting: string;
  readonly #ending: string;
  readonly #ignores_merges: boolean;
  readonly #byte_fallback: boolean;
  readonly #fuses_unknown: boolean;
  #known_words = new Map<string, readonly string[]>();

  /** `part`: the model of a tokenizer.json. */
  constructor(part: JsonPart) {
    const ids = part.part("vocab").idsByText();
    const texts: string[] = [];
    for (const [text, id] of ids) texts[id] = text;
    this.ids = ids;
    this.texts = texts;
    this.unknown = part.textOrNull("unk_token");
    this.unknown_id = (this.unknown === null ? null : ids.get(this.unknown)) ?? null;
    const merges = part.list("merges");
    this.#parting = typeof merges[0] === "string" ? " " : PARTING;
    this.#ranks = ranksOf(part, merges, this.#parting);
    this.#ending = part.textOrNull("end_of_word_suffix") ?? "";
    this.#ignores_merges = part.flag("ignore_merges", false);
    this.#byte_fallback = part.flag("byte_fallback", false);
    this.#fuses_unknown = part.flag("fuse_unk", false);
  }

  /** A character without a token is dropped before merging, so that its neighbours may merge. */
  known(word: string): string {
    if (this.unknown_id !== null || (this.#ignores_merges && this.ids.has(word))) return word;
    const characters = Array.from(word);
    const isKnown = (character: string) => this.ids.has(character) || this.#bytesOf(character) !== null;
    return characters.every(isKnown) ? word : characters.filter(isKnown).join("");
  }

  tokens(word: string): readonly string[] {
    if (this.#ignores_merges && this.ids.has(word)) return [word];
    const known = this.#known_words.get(word);
    if (known !== undefined) return known;
    const tokens = this.#spelled(this.#merged(word));
    if (word.length > KEPT_UNITS_MAX) return tokens;
    if (this.#known_words.size >= KEPT_WORDS_MAX) this.#known_words = new Map();
    this.#known_words.set(word, tokens);
    return tokens;
  }

  /**
   * Always the first pair of the least rank. All pairs of one rank are merged in one pass, unless that makes a pair of a
   * lesser one, which files allow: then that is first.
   */
  #merged(word: string): readonly string[] {
    const symbols = Array.from(word);
    if (this.#ending !== "") symbols.push(`${symbols.pop() ?? ""}${this.#ending}`);
    const ranks = symbols.map((symbol, at) => this.#rank(symbol, symbols[at + 1]));
    for (;;) {
      const least = leastOf(ranks);
      if (least === NEVER) return symbols;
      this.#mergeAll(least, symbols, ranks);
    }
  }

  #mergeAll(least: number, symbols: string[], ranks: number[]): void {
    let made = 0;
    let is_least = true;
    for (let read = 0; read < symbols.length; made++) {
      const symbol = symbols[read] ?? "";
      const rank = ranks[read] ?? NEVER;
      read += 1;
      if (rank !== least || !is_least) {
        symbols[made] = symbol;
        ranks[made] = rank;
        continue;
      }
      const merged = `${symbol}${symbols[read]}`;
      read += 1;
      symbols[made] = merged;
      ranks[made] = this.#rank(merged, symbols[read]);
      if (made > 0) ranks[made - 1] = this.#rank(symbols[made - 1] ?? "", merged);
      is_least = (ranks[made] ?? NEVER) > least && (ranks[made - 1] ?? NEVER) > least;
    }
    symbols.length = made;
    ranks.length = made;
  }

  #rank(left: string, right: string | undefined): number {
    return right === undefined ? NEVER : (this.#ranks.get(`${left}${this.#parting}${right}`) ?? NEVER);
  }

  /** What has no token as its bytes, if they have tokens, or as the unknown one, or not at all. */
  #spelled(symbols: readonly string[]): readonly string[] {
    const tokens: string[] = [];
    for (const symbol of symbols) {
      const bytes = this.ids.has(symbol) ? [symbol] : this.#bytesOf(symbol);
      if (bytes !== null) tokens.push(...bytes);
      else if (this.unknown !== null && !(this.#fuses_unknown && tokens.at(-1) === this.unknown))
        tokens.push(this.unknown);
    }
    return tokens;
  }

  #bytesOf(symbol: string): readonly string[] | null {
    if (!this.#byte_fallback) return null;
    const names = Array.from(new TextEncoder().encode(symbol), byteName);
    return names.every((name) => this.ids.has(name)) ? names : null;
  }
}

/** Half a character: no word has one, so that no other two tokens look alike. */
const PARTING = "\ud800";

const NEVER = Number.POSITIVE_INFINITY;

/** Words come again and again; in so many there are most of a language's. */
const KEPT_WORDS_MAX = 10_000;
const KEPT_UNITS_MAX = 256;

/** All are "a b", or all ["a", "b"]. Of two merges of one pair the later counts. */
function ranksOf(part: JsonPart, merges: readonly unknown[], parting: string): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const pair = parting === PARTING ? joined(merge) : merge;
    if (typeof pair !== "string" || !isPair(pair, parting)) throw part.damaged("merges", "a list of pairs of tokens");
    ranks.set(pair, rank);
  }
  return ranks;
}

function joined(merge: unknown): string | null {
  if (!Array.isArray(merge) || merge.length !== 2) return null;
  return merge.every((token) => typeof token === "string") ? merge.join(PARTING) : null;
}

/** What parts it is there once, neither first nor last. */
function isPair(pair: string, parting: string): boolean {
  const at = pair.indexOf(parting);
  return at > 0 && at < pair.length - 1 && !pair.includes(parting, at + 1);
}

function leastOf(ranks: readonly number[]): number {
  let least = NEVER;
  for (const rank of ranks) if (rank < least) least = rank;
  return least;
}

function byteName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}
