/** Everything the main thread and the text worker say to each other. */

import type { EncoderText } from "../core/encoding.ts";
import type { FailureRecord } from "../core/failure.ts";
import type { ChatEnd, GenerationWishes, Message, Prompt } from "../core/generation.ts";
import type { CompiledGrammar, Constraint, ThoughtForm } from "../core/grammar.ts";
import type { Purpose } from "../core/purpose.ts";
import type { AnswerFormat, Marks } from "./answer/formats.ts";

/** What decoding needs, in a form that moves between threads without a copy. */
export interface Vocabulary {
  /** The bytes of all tokens, one after another. */
  readonly bytes: Uint8Array;
  /** `offsets[id] … offsets[id + 1]` is the token's part of `bytes`. */
  readonly offsets: Uint32Array;
  /** What tokens that yield no text are called, by their ids. */
  readonly names: ReadonlyMap<number, string>;
  /** Tokens that mark the parts of an answer, whether they yield text or not; a grammar never has them spelled. */
  readonly marks: ReadonlyMap<number, string>;
  /** The decoder drops one leading space of a text (SentencePiece style). */
  readonly strips_leading_space: boolean;
}

export interface TextModel {
  readonly vocabulary: Vocabulary;
  /** Of the longest token: no more of a text than this becomes one. */
  readonly token_bytes_max: number;
  readonly purpose: Purpose;
  readonly has_chat_template: boolean;
  readonly stop_token_ids: readonly number[];
  /** The sampling values of `generation_config.json`; null where it says nothing. */
  readonly sampling: { temperature: number | null; top_k: number | null; top_p: number | null; min_p: number | null };
}

export type TextCall =
  | { readonly kind: "load" | "forget"; readonly path: string }
  | {
      readonly kind: "encode_chat";
      readonly path: string;
      readonly chat: Chat;
      readonly now_ms: number;
      readonly tokens_max: number;
    }
  | {
      readonly kind: "encode_text";
      readonly path: string;
      readonly text: string;
      readonly tokens_max: number;
      readonly around: boolean;
    }
  | { readonly kind: "encode_fill"; readonly path: string; readonly gap: Gap; readonly tokens_max: number }
  | { readonly kind: "render_chat"; readonly path: string; readonly chat: Chat; readonly now_ms: number }
  /** `alphabet`: the bytes that the model's tokens can spell one by one. `marks`: tokens that are not spelled. */
  | {
      readonly kind: "compile";
      readonly constraint: Constraint;
      readonly alphabet: readonly number[];
      readonly marks: readonly string[];
    }
  | { readonly kind: "check"; readonly constraint: Constraint; readonly text: string }
  | {
      readonly kind: "encode_inputs";
      readonly path: string;
      readonly inputs: readonly Input[];
      readonly tokens_max: number;
    };

/** What a chat's prompt is made of. */
export interface Chat extends Pick<GenerationWishes, "tools" | "reasoning" | "template_options"> {
  readonly messages: readonly Message[];
  /** "answer" unless it is said. */
  readonly ends?: ChatEnd;
}

export interface EncodedChat {
  readonly token_ids: number[];
  readonly form: AnswerForm;
}

/** What has to be known to read the answer, and to hold the model to one. */
export interface AnswerForm {
  readonly format: AnswerFormat;
  readonly thoughts: readonly Marks[];
  /** The prompt has begun this thought. */
  readonly open_thought: Marks | null;
  /** Where the answer may begin with a thought. */
  readonly thought: BoundThought | null;
  /** The prompt has begun the content, which goes on where it ends. */
  readonly is_begun?: boolean;
}

export interface BoundThought extends ThoughtForm {
  /** null: it ends when the model ends it. */
  readonly tokens_max: number | null;
  /** What ends it then, and what begins an answer of no certain form. */
  readonly end_ids: readonly number[];
  readonly content_ids: readonly number[];
}

/** A text that lacks something within it. */
export type Gap = Pick<Extract<Prompt, { kind: "fill" }>, "before" | "behind">;

/** A text, or a query with what may answer it, for a model that reads. */
export type Input = string | readonly [string, string];

/** With all that the model wants around it, in at most so many tokens. */
export interface EncodedInput extends EncoderText {
  /** Whether it had more. */
  readonly is_cut: boolean;
}

/** What a call of a kind answers. */
export interface TextAnswers {
  readonly load: TextModel;
  readonly forget: readonly [];
  readonly encode_chat: EncodedChat;
  readonly encode_text: number[];
  readonly render_chat: string;
  readonly encode_fill: number[];
  readonly compile: CompiledGrammar;
  /** How the text departs from what it must be, or null. */
  readonly check: string | null;
  readonly encode_inputs: EncodedInput[];
}

export interface ToText {
  readonly call: TextCall;
  /** One number in memory that both threads see; not 0: nobody waits for the answer any more. */
  readonly left: Int32Array;
}

/** To the call before: the next is sent after it. */
export type FromText =
  | { readonly kind: "answer"; readonly value: TextAnswers[keyof TextAnswers] }
  | { readonly kind: "failed"; readonly failure: FailureRecord };
