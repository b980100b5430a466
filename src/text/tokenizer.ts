/**
 * Text to token ids, equal to the Rust `tokenizers` package. Knows tokenizer.json; knows nothing of chats, files and threads.
 * The library normalises, splits and merges; added tokens and the tokens around a text are ours.
 */

import type { Tokenizer as Library } from "@huggingface/tokenizers";
import { type AddedToken, AddedTokens, type Admission, addedToken } from "./added-tokens.ts";
import { type Around, type AroundWishes, aroundText } from "./around-text.ts";
import type { JsonPart } from "./json-part.ts";
import { openLibrary } from "./library.ts";

/** What a tokenizer's other files add to its tokenizer.json. */
export interface TokenizerExtras extends AroundWishes {
  /** Those whose content tokenizer.json does not already add are added. */
  readonly added_tokens: readonly AddedToken[];
  /** Which tokens steer the model, beside those marked special: no message may spell them. */
  readonly isControl: (token: AddedToken) => boolean;
}

export class Tokenizer {
  readonly added_tokens: readonly AddedToken[];
  /** Token texts by id, holes where an id has none. */
  readonly vocabulary: readonly (string | undefined)[];
  /** For finding control tokens in a message. */
  readonly controlTokens: AddedTokens;
  readonly #library: Library;
  readonly #model: NonNullable<Library["model"]>;
  readonly #keepsUnknown: boolean;
  readonly #ignores_merges: boolean;
  readonly #byte_fallback: boolean;
  readonly #raw: AddedTokens;
  readonly #raw_in_chat: AddedTokens;
  readonly #normalized: AddedTokens;
  readonly #normalized_in_chat: AddedTokens;
  readonly #control: readonly AddedToken[];
  readonly #control_texts: ReadonlySet<string>;
  readonly #around: Around;

  constructor(json: JsonPart, extras: TokenizerExtras) {
    const model = json.part("model");
    this.#library = openLibrary(json, model);
    if (this.#library.model === null) throw model.unsupported("an absent model");
    this.#model = this.#library.model;
    this.#keepsUnknown = model.value("type") !== "BPE" || this.#model.unk_token_id !== undefined;
    this.#ignores_merges = model.flag("ignore_merges", false);
    this.#byte_fallback = model.flag("byte_fallback", false);
    this.added_tokens = addedTokens(json, extras, this.#model);
    this.vocabulary = withAdded(this.#model.vocab, this.added_tokens);

    const unknown = this.#model.unk_token;
    this.#control = this.added_tokens.filter((token) => token.special || extras.isControl(token));
    this.#control_texts = new Set(this.#control.map((token) => token.content).filter((content) => content !== unknown));
    const control = new Set(this.#control);
    this.controlTokens = new AddedTokens(this.#control);
    const normal = (token: AddedToken) => token.normalized && this.#library.normalizer !== null;
    const spelling = (token: AddedToken) => this.#normalize(token.content);
    this.#raw = new AddedTokens(this.added_tokens.filter((token) => !normal(token)));
    this.#normalized = new AddedTokens(this.added_tokens.filter(normal), spelling);
    // In a chat control tokens are looked for where their places are still those of the rendered text.
    this.#raw_in_chat = new AddedTokens(this.added_tokens.filter((token) => !normal(token) || control.has(token)));
    const plain = this.added_tokens.filter((token) => normal(token) && !control.has(token));
    this.#normalized_in_chat = new AddedTokens(plain, spelling);
    this.#around = aroundText(json.partOrNull("post_processor"), extras, (content) => this.idOf(content));
  }

  /** Added tokens in the text are recognised; the tokens that belong around a text are put there. */
  encode(text: string): number[] {
    const ids = this.#encode(text.toWellFormed(), this.#raw, this.#normalized, () => true);
    return [...this.#around.before, ...ids, ...this.#around.after];
  }

  /** Nothing is put around the text, and no control token may span one of the `seams` (ascending offsets). */
  encodeChat(text: string, seams: readonly number[]): number[] {
    const control = new Set(this.#control);
    const cuts = seamFinder(seams);
    const admits: Admission = (token, start, end) => !control.has(token) || !cuts(start, end);
    const ids = this.#encode(text.toWellFormed(), this.#raw_in_chat, this.#normalized_in_chat, admits, true);
    return ids;
  }

  idOf(content: string): number | null {
    const added = this.added_tokens.find((token) => token.content === content);
    return added?.id ?? this.#model.tokens_to_ids.get(content) ?? null;
  }

  #encode(text: string, raw: AddedTokens, normalized: AddedTokens, admits: Admission, chat = false): number[] {
    const ids: number[] = [];
    for (const piece of raw.split(text, admits)) {
      if (piece.token !== null) ids.push(piece.token.id);
      else this.#encodePiece(piece.text, piece.start === 0, normalized, chat, ids);
    }
    return ids;
  }

  #encodePiece(text: string, at_start: boolean, added: AddedTokens, chat: boolean, ids: number[]): void {
    for (const piece of added.split(this.#normalize(text), () => true)) {
      if (piece.token !== null) {
        ids.push(piece.token.id);
        continue;
      }
      // The library's name for "this is where the text begins" is section 0.
      const section_index = at_start && piece.start === 0 ? 0 : 1;
      const words = this.#library.pre_tokenizer?.pre_tokenize(piece.text, { section_index }) ?? [piece.text];
      for (const word of words) this.#encodeWord(word, chat, ids);
    }
  }

  /** One word at a time: the library would fuse unknown tokens of neighbouring words. */
  #encodeWord(word: string, chat: boolean, ids: number[]): void {
    const known = this.#keepsUnknown ? word : this.#knownCharacters(word);
    if (known === "") return;
    for (const token of this.#model([known])) {
      if (chat && this.#control_texts.has(token)) {
        this.#encodeWord(token.slice(0, 1), false, ids);
        this.#encodeWord(token.slice(1), chat, ids);
        continue;
      }
      const id = this.#model.tokens_to_ids.get(token) ?? this.#model.unk_token_id;
      if (id !== undefined) ids.push(id);
    }
  }

  /** The original drops a character without a token before merging, so its neighbours may merge; the library after. */
  #knownCharacters(word: string): string {
    const tokens = this.#model.tokens_to_ids;
    if (this.#ignores_merges && tokens.has(word)) return word;
    const characters = Array.from(word);
    const isKnown = (character: string) => tokens.has(character) || this.#hasBytes(character);
    return characters.every(isKnown) ? word : characters.filter(isKnown).join("");
  }

  #hasBytes(character: string): boolean {
    if (!this.#byte_fallback) return false;
    const names = Array.from(new TextEncoder().encode(character), byteName);
    return names.every((name) => this.#model.tokens_to_ids.has(name));
  }

  #normalize(text: string): string {
    return this.#library.normalizer?.normalize(text) ?? text;
  }
}

function addedTokens(json: JsonPart, extras: TokenizerExtras, model: NonNullable<Library["model"]>): AddedToken[] {
  const own = json.parts("added_tokens").map((part) => addedToken(part, part.tokenId("id")));
  const contents = new Set(own.map((token) => token.content));
  const more = extras.added_tokens.filter((token) => !contents.has(token.content));
  const special = new Set(extras.added_tokens.filter((token) => token.special).map((token) => token.content));
  return [...own, ...more].map((token) => ({
    ...token,
    id: model.tokens_to_ids.get(token.content) ?? token.id,
    special: token.special || special.has(token.content),
  }));
}

function withAdded(vocab: readonly string[], added: readonly AddedToken[]): (string | undefined)[] {
  const all: (string | undefined)[] = [...vocab];
  for (const token of added) all[token.id] = token.content;
  // Without holes, which methods of arrays would skip.
  return Array.from(all);
}

/** For questions that come in ascending order: does a seam lie inside `start … end`? */
function seamFinder(seams: readonly number[]): (start: number, end: number) => boolean {
  let next = 0;
  return (start, end) => {
    while ((seams[next] ?? Number.POSITIVE_INFINITY) <= start) next += 1;
    return (seams[next] ?? Number.POSITIVE_INFINITY) < end;
  };
}

function byteName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}
