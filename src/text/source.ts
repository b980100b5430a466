/** What the files of a model say about its text, whichever format they have. */

import type { AddedToken } from "./added-tokens.ts";
import type { JsonPart } from "./json-part.ts";
import type { TextModel } from "./messages.ts";

/** What is known without its vocabulary, which is long to read. */
export interface TextHeader {
  readonly chat_template: string | null;
  readonly sampling: TextModel["sampling"];
}

export interface TextSource extends TextHeader {
  /** Shaped like a tokenizer.json. */
  readonly tokenizer: JsonPart;
  readonly added_tokens: readonly AddedToken[];
  readonly add_bos: boolean | null;
  readonly add_eos: boolean | null;
  /** "bos_token", "eos_token", … to the token's text. */
  readonly named_tokens: ReadonlyMap<string, string>;
  readonly end_token_ids: readonly number[];
}
