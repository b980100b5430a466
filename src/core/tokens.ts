/** What a model's tokenizer makes of texts and tokens, for callers who count or cut for themselves. Knows no HTTP. */

import type { GenerationRequest } from "./generation.ts";

export interface NamedToken {
  readonly id: number;
  /** Its own text, or its name where it has none. */
  readonly text: string;
  /** null: it has no text. */
  readonly bytes: readonly number[] | null;
}

export interface TokenDesk {
  /** `around`: with the tokens that the model wants around a text. */
  tokenize(model: string, text: string, around: boolean, signal: AbortSignal): Promise<readonly NamedToken[]>;
  /** Of the prompt that an answer to the request would be given to. */
  tokenizeChat(request: GenerationRequest, signal: AbortSignal): Promise<readonly NamedToken[]>;
  /** Tokens without a text by their names. */
  detokenize(model: string, token_ids: readonly number[], signal: AbortSignal): Promise<string>;
  /** The prompt of a chat as the model's template writes it. */
  applyTemplate(request: GenerationRequest, signal: AbortSignal): Promise<string>;
}
