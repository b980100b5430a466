/** The neutral nouns every dialect and every backend speak. Knows no wire format and no tokenizer. */

import type { Priority } from "./priority.ts";

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

export type Prompt =
  | { readonly kind: "messages"; readonly messages: readonly Message[] }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tokens"; readonly token_ids: readonly number[] };

/** How the next token is drawn. Applied in the order of the fields; `seed` makes it repeatable. */
export interface Sampling {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 keeps every token. */
  readonly top_k: number;
  /** 1 keeps every token. */
  readonly top_p: number;
  /** Share of the best token's probability below which a token is dropped; 0 keeps every token. */
  readonly min_p: number;
  readonly seed: number;
}

/** What the caller said about sampling; null leaves it to the model. */
export type SamplingWishes = { readonly [Field in keyof Sampling]: Sampling[Field] | null };

export interface GenerationRequest {
  readonly request_id: string;
  readonly model: string;
  readonly prompt: Prompt;
  readonly sampling: SamplingWishes;
  /** null: until the model stops or its context is full. */
  readonly tokens_max: number | null;
  /** Generation ends before any of these texts; they are not part of the answer. */
  readonly stop: readonly string[];
  readonly priority: Priority;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

export type FinishReason = "stop" | "length";

/**
 * A generation is one `start`, any number of `text`, then exactly one terminal: `end`, or a thrown `Failure`.
 * `text` never ends inside a character, and may stand for several tokens.
 */
export type GenerationEvent =
  | { readonly kind: "start"; readonly prompt_tokens: number }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "end"; readonly reason: FinishReason; readonly usage: Usage };
