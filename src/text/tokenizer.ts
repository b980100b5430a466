/**
 * Text to token ids, equal to the Rust `tokenizers` package. Knows tokenizer.json; knows nothing of chats, files and threads.
 * The library normalises and splits; added tokens and the tokens around a text are ours.
 */

import { type AddedToken, AddedTokens, type Admission, addedToken } from "./added-tokens.ts";
import { type Around, type AroundPair, type AroundWishes, aroundPair, aroundText } from "./around-text.ts";
import type { JsonPart } from "./json-part.ts";
import { openLibrary, type Splitter } from "./library.ts";
import { WordCutter } from "./word-cutter.ts";
import type { WordModel } from "./word-model.ts";

/** What a tokenizer's other files add to its tokenizer.json. */
export interface TokenizerExtras extends AroundWishes {
  /** Those whose content tokenizer.json does not already add are added. */
  readonly added_tokens: readonly AddedToken[];
  /** Which tokens steer the model, beside those marked special: no message may spell them. */
  readonly isControl: (token: AddedToken) => boolean;
}

/** Asked before each word with the tokens so far; true leaves the rest of the text unread. */
export type IsEnough = (tokens: number) => boolean;

/** A text on its way. */
interface Encoding {
  readonly ids: number[];
  readonly view: View;
  readonly isEnough: IsEnough;
}

/** How added tokens are looked for. */
interface View {
  /** Those found before normalisation. */
  readonly raw: AddedTokens;
  readonly normalized: AddedTokens;
  /** Ordinary text yields no control token, whatever it spells. */
  readonly is_chat: boolean;
}

export class Tokenizer {
  readonly added_tokens: readonly AddedToken[];
  /** Token texts by id, undefined where an id has none. */
  readonly vocabulary: readonly (string | undefined)[];
  /** For finding control tokens in a message. */
  readonly controlTokens: AddedTokens;
  readonly #splitter: Splitter;
  readonly #model: WordModel;
  readonly #control: ReadonlySet<AddedToken>;
  readonly #control_texts: ReadonlySet<string>;
  readonly #text_view: View;
  readonly #chat_view: View;
  readonly around: Around;
  readonly around_pair: AroundPair;
  /** null: the model itself bounds its words. */
  readonly #cutter: WordCutter | null;

  constructor(json: JsonPart, extras: TokenizerExtras) {
    const model = json.part("model");
    const opened = openLibrary(json, model);
    this.#splitter = opened.splitter;
    this.#model = opened.model;
    this.added_tokens = addedTokens(json, extras, this.#model);
    this.vocabulary = withAdded(this.#model.texts, this.added_tokens);

    this.#control = new Set(this.added_tokens.filter((token) => token.special || extras.isControl(token)));
    const { unknown } = this.#model;
    this.#control_texts = new Set([...this.#control].map((token) => token.content).filter((text) => text !== unknown));
    this.controlTokens = new AddedTokens([...this.#control]);
    const isNormalized = (token: AddedToken) => token.normalized && this.#splitter.normalizes;
    this.#text_view = this.#view(isNormalized, false);
    // In a chat control tokens are looked for where their places are still those of the rendered text.
    this.#chat_view = this.#view((token) => isNormalized(token) && !this.#control.has(token), true);
    this.#cutter = this.#model.bounds_words ? null : new WordCutter(this.#model.ids);
    this.around = aroundText(json.partOrNull("post_processor"), extras, (content) => this.idOf(content));
    this.around_pair = aroundPair(json.partOrNull("post_processor"));
  }

  /** Added tokens in the text are recognised; the tokens that belong around a text are put there, unless `around` is false. */
  encode(text: string, isEnough: IsEnough = NEVER, around = true): number[] {
    const ids = this.#encode(text.toWellFormed(), this.#text_view, () => true, isEnough);
    if (!around) return ids;
    return [...this.around.before, ...ids, ...this.around.after];
  }

  /** The first `tokens_max` with nothing around them; added tokens in the text are recognised. */
  encodeBare(text: string, tokens_max: number, hasLeft: () => boolean): { ids: number[]; is_cut: boolean } {
    const ids = this.#encode(
      text.toWellFormed(),
      this.#text_view,
      () => true,
      (tokens) => tokens > tokens_max || hasLeft(),
    );
    return { ids: ids.slice(0, tokens_max), is_cut: ids.length > tokens_max };
  }

  /** Nothing is put around the text, and no control token may span one of the `seams` (ascending offsets). */
  encodeChat(text: string, seams: readonly number[], isEnough: IsEnough = NEVER): number[] {
    const spansSeam = seamFinder(seams);
    const admits: Admission = (token, start, end) => !this.#control.has(token) || !spansSeam(start, end);
    return this.#encode(text.toWellFormed(), this.#chat_view, admits, isEnough);
  }

  idOf(content: string): number | null {
    const added = this.added_tokens.find((token) => token.content === content);
    return added?.id ?? this.#model.ids.get(content) ?? null;
  }

  #view(isNormalized: (token: AddedToken) => boolean, is_chat: boolean): View {
    const raw = new AddedTokens(this.added_tokens.filter((token) => !isNormalized(token)));
    const spelling = (token: AddedToken) => this.#normalize(token.content);
    return { raw, normalized: new AddedTokens(this.added_tokens.filter(isNormalized), spelling), is_chat };
  }

  #encode(text: string, view: View, admits: Admission, isEnough: IsEnough): number[] {
    const ids: number[] = [];
    for (const piece of view.raw.split(text, admits)) {
      if (isEnough(ids.length)) break;
      if (piece.token !== null) ids.push(piece.token.id);
      else this.#encodePiece(piece.text, piece.start === 0, { ids, view, isEnough });
    }
    return ids;
  }

  #encodePiece(text: string, at_start: boolean, encoding: Encoding): void {
    for (const piece of encoding.view.normalized.split(this.#normalize(text), () => true)) {
      if (piece.token !== null) {
        encoding.ids.push(piece.token.id);
        continue;
      }
      const words = this.#splitter.words(piece.text, at_start && piece.start === 0);
      for (const word of words) this.#encodeWord(word, encoding.view.is_chat, encoding);
    }
  }

  #encodeWord(word: string, is_chat: boolean, encoding: Encoding): void {
    const { ids, isEnough } = encoding;
    for (const piece of this.#pieces(word)) {
      if (isEnough(ids.length)) return;
      for (const token of this.#model.tokens(piece)) {
        if (is_chat && this.#control_texts.has(token)) {
          // The model's own vocabulary holds it, and the word spells it.
          this.#encodeWord(token.slice(0, 1), false, encoding);
          this.#encodeWord(token.slice(1), is_chat, encoding);
          continue;
        }
        const id = this.#model.ids.get(token) ?? this.#model.unknown_id;
        if (id !== null) ids.push(id);
      }
    }
  }

  #pieces(word: string): readonly string[] {
    const known = this.#model.known(word);
    if (known === "") return [];
    return this.#cutter === null ? [known] : this.#cutter.cut(known);
  }

  #normalize(text: string): string {
    return this.#splitter.normalize(text);
  }
}

const NEVER: IsEnough = () => false;

function addedTokens(json: JsonPart, extras: TokenizerExtras, model: WordModel): AddedToken[] {
  const own = json.parts("added_tokens").map((part) => addedToken(part, part.tokenId("id")));
  const contents = new Set(own.map((token) => token.content));
  const more = extras.added_tokens.filter((token) => !contents.has(token.content));
  const special = new Set(extras.added_tokens.filter((token) => token.special).map((token) => token.content));
  return [...own, ...more].map((token) => ({
    ...token,
    id: model.ids.get(token.content) ?? token.id,
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
