/** What makes numbers of texts, in pieces between which an engine may do other work. */

import type { EncoderText } from "../core/encoding.ts";

export interface TextReader extends Disposable {
  /** Tokens of a text. */
  readonly context_length: number;
  readonly vocabulary_size: number;
  readonly bytes_resident: number;
  /** That it reads in one go. */
  readonly texts_max: number;
  /** The numbers of each text, in order. Yields when a piece of the work is done, if it can one of about `piece_tokens`. */
  read(texts: readonly EncoderText[], piece_tokens: number): Pieces;
}

export type Pieces = Generator<void, readonly Float32Array[], void>;
