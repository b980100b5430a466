/** Token ids to text, a few at a time. Knows only the table of bytes per token; special tokens are empty in it. */

import type { Vocabulary } from "./messages.ts";

export interface DetokenizerOptions {
  readonly at_start: boolean;
  readonly spoken?: ReadonlyMap<number, Uint8Array>;
}

export class Detokenizer {
  readonly #vocabulary: Vocabulary;
  // Holds back the bytes of an unfinished character; the mark U+FEFF is text here.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #spoken: ReadonlyMap<number, Uint8Array>;
  #drops_space: boolean;

  /**
   * `at_start`: the text begins here; otherwise it continues one, and its leading space belongs to it.
   * `spoken`: tokens without a text that are to have one here.
   */
  constructor(vocabulary: Vocabulary, options: DetokenizerOptions) {
    this.#vocabulary = vocabulary;
    this.#spoken = options.spoken ?? NONE;
    this.#drops_space = vocabulary.strips_leading_space && options.at_start;
  }

  /** The text that is certain now; it never ends inside a character. */
  push(token_ids: readonly number[]): string {
    let text = "";
    for (const id of token_ids) text += this.#decoder.decode(this.#bytesOf(id), { stream: true });
    return this.#begin(text);
  }

  /** What was held back: an unfinished character becomes U+FFFD. */
  flush(): string {
    return this.#begin(this.#decoder.decode());
  }

  /** A model may know ids beyond its vocabulary (padding of its tables); they have no text. */
  #bytesOf(id: number): Uint8Array {
    const spoken = this.#spoken.get(id);
    if (spoken !== undefined) return spoken;
    const { bytes, offsets } = this.#vocabulary;
    return bytes.subarray(offsets[id] ?? bytes.length, offsets[id + 1] ?? bytes.length);
  }

  #begin(text: string): string {
    if (!this.#drops_space || text === "") return text;
    this.#drops_space = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}

const NONE: ReadonlyMap<number, Uint8Array> = new Map();
