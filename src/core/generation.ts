/** The neutral nouns every dialect and every backend speak. Knows no wire format and no tokenizer. */

import type { Constraint } from "./grammar.ts";
import { PRIORITY, type Priority } from "./priority.ts";

/** What a model may call; the caller runs it. */
export interface ToolDefinition {
  readonly name: string;
  readonly description: string | null;
  /** A JSON schema of an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Arguments that break the schema are never given. */
  readonly strict: boolean;
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
}

export interface AssistantMessage {
  readonly role: "assistant";
  readonly content: string;
  readonly reasoning: string | null;
  readonly tool_calls: readonly ToolCall[];
  readonly name?: string;
}

/** A picture among the words of a user, or of a tool's result. */
export interface PlacedImage {
  /** UTF-16 units of the content before it. */
  readonly at: number;
  readonly source:
    | { readonly kind: "url"; readonly url: string }
    | { readonly kind: "data"; readonly media_type: string; readonly base64: string };
  /** How closely it is to be looked at; absent: as the model does it. */
  readonly detail?: "low" | "high";
}

export interface UserMessage {
  readonly role: "user";
  readonly content: string;
  /** In the order of their places; absent where there are none. */
  readonly images?: readonly PlacedImage[];
  /** Who of several speaks. */
  readonly name?: string;
}

export type Message =
  | { readonly role: "system"; readonly content: string; readonly name?: string }
  | UserMessage
  | AssistantMessage
  | ToolResult;

export interface ToolResult {
  readonly role: "tool";
  readonly content: string;
  readonly tool_call_id: string;
  readonly images?: readonly PlacedImage[];
}

/**
 * What stands behind the messages of a chat. `begun`: nothing, and the last of them, the assistant's, is open: the answer
 * goes on with its text. `bare`: nothing, and the last of them is whole.
 */
export type ChatEnd = "answer" | "begun" | "bare";

export type Prompt =
  /** `ends`: "answer", the words with which an answer begins, unless it is said. */
  | { readonly kind: "messages"; readonly messages: readonly Message[]; readonly ends?: ChatEnd }
  /** A chat goes on behind the tokens of what was said before. */
  | { readonly kind: "continued"; readonly token_ids: readonly number[]; readonly messages: readonly Message[] }
  | { readonly kind: "text"; readonly text: string }
  /** The answer stands between two texts. */
  | { readonly kind: "fill"; readonly before: string; readonly behind: string }
  | { readonly kind: "tokens"; readonly token_ids: readonly number[] };

export interface TokenBias {
  readonly token_id: number;
  /** Added to the token's logit; `BIAS_BAN` forbids the token, `BIAS_FORCE` leaves only tokens with that bias. */
  readonly bias: number;
}

/** More than any context has. */
export const ALL_TOKENS = Number.MAX_SAFE_INTEGER;

// OpenAI's limits, and what it says of them: "a ban or exclusive selection of the relevant token".
export const BIAS_BAN = -100;
export const BIAS_FORCE = 100;

/** How the next token is drawn. Applied in the order of the fields; `seed` makes it repeatable. */
export interface Sampling {
  /** Divides positive logits and multiplies negative ones, of tokens in the prompt or the answer; 1 leaves them. */
  readonly repetition_penalty: number;
  /** Taken from a token's logit for each time it is in the answer. */
  readonly frequency_penalty: number;
  /** Taken once from the logit of a token that is in the answer. */
  readonly presence_penalty: number;
  /** The penalties look at so many of the last tokens; `ALL_TOKENS` at every one. */
  readonly penalty_window: number;
  readonly logit_bias: readonly TokenBias[];
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 keeps every token. */
  readonly top_k: number;
  /** Keeps this much of the probability, of the tokens that surprise as much as one should expect; 1 keeps every token. */
  readonly typical_p: number;
  /** 1 keeps every token. */
  readonly top_p: number;
  /** Share of the best token's probability below which a token is dropped; 0 keeps every token. */
  readonly min_p: number;
  /** How often the likeliest tokens are dropped; 0 is never. */
  readonly xtc_probability: number;
  /** Of the tokens at least so probable, all but the least probable are dropped then. */
  readonly xtc_threshold: number;
  readonly seed: number;
}

/** Draws from the model's own probabilities: OpenAI's defaults. */
export const PLAIN_SAMPLING: Omit<Sampling, "seed"> = {
  repetition_penalty: 1,
  frequency_penalty: 0,
  presence_penalty: 0,
  penalty_window: ALL_TOKENS,
  logit_bias: [],
  temperature: 1,
  top_k: 0,
  typical_p: 1,
  top_p: 1,
  min_p: 0,
  xtc_probability: 0,
  xtc_threshold: 0.1,
};

/** What the caller said about sampling; null leaves it to the model. */
export type SamplingWishes = { readonly [Field in keyof Sampling]: Sampling[Field] | null };

export const NO_WISHES: SamplingWishes = {
  repetition_penalty: null,
  frequency_penalty: null,
  presence_penalty: null,
  penalty_window: null,
  logit_bias: null,
  temperature: null,
  top_k: null,
  typical_p: null,
  top_p: null,
  min_p: null,
  xtc_probability: null,
  xtc_threshold: null,
  seed: null,
};

export type ToolChoice =
  | { readonly kind: "none" | "auto" | "required" }
  | { readonly kind: "named"; readonly name: string };

/** How much a model is to think before it answers, in the words that callers and templates have for it. */
export type ReasoningEffort = "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";

export interface ReasoningWishes {
  /** null leaves it to the model. */
  readonly effort: ReasoningEffort | null;
  /** A thought ends after so many tokens; null: when the model ends it. */
  readonly tokens_max: number | null;
  /** The caller says so to every model alike: one that cannot do as told does what it can. Else it is refused. */
  readonly is_hint?: boolean;
}

/** What only the answer of a chat may be asked for. */
export interface ChatWishes {
  readonly tools: readonly ToolDefinition[];
  readonly tool_choice: ToolChoice;
  /** Otherwise an answer has at most one call. */
  readonly parallel_tool_calls: boolean;
  readonly reasoning: ReasoningWishes;
  /** Variables of the model's own chat template. */
  readonly template_options: Readonly<Record<string, unknown>>;
}

export const PLAIN_CHAT: ChatWishes = {
  tools: [],
  tool_choice: { kind: "auto" },
  parallel_tool_calls: true,
  reasoning: { effort: null, tokens_max: null },
  template_options: {},
};

/** What a caller may ask of an answer. */
export interface GenerationWishes extends ChatWishes {
  readonly sampling: SamplingWishes;
  /** How many answers to the one prompt. */
  readonly choices: number;
  /** How many of the likeliest tokens are told with each drawn one; null: nothing is told of tokens. */
  readonly logprobs: number | null;
  /** null: until the model stops or its context is full. */
  readonly tokens_max: number | null;
  /** Prompt and answer may take so many tokens together; null: as many as the model does. */
  readonly context_tokens_max: number | null;
  /** No token that ends the answer is drawn before so many others. */
  readonly tokens_min: number;
  /** Generation ends before any of these texts; they are not part of the answer. */
  readonly stop: readonly string[];
  /** Generation ends at any of these tokens, and at the model's own; they are not part of the answer. */
  readonly stop_token_ids: readonly number[];
  /** The model's own end tokens do not end the answer. */
  readonly ignore_eos: boolean;
  /**
   * `auto`: of a chat that does not fit the model, the oldest turns are left out until it does; `here`: the same, of a
   * model of this machine.
   */
  readonly truncation: "auto" | "here" | "disabled";
  /** What the answer must be from its beginning to its end; null: anything. */
  readonly constraint: Constraint | null;
  /** What the caller expects it to be, which makes it no other, but may make it sooner. */
  readonly prediction: string | null;
  /** The prompt's text stands before each answer. */
  readonly echo: boolean;
  /** The ids of prompt and answer are told at its end. */
  readonly tells_tokens: boolean;
  readonly priority: Priority;
  /** A low-rank adapter by name; null: the model as it is, or as its name says. */
  readonly adapter: string | null;
  /** Seconds that the model stays in memory from then on when nobody asks for it: infinite pins it, null is the owner's word. */
  readonly keep_s: number | null;
}

export const PLAIN_ANSWER: GenerationWishes = {
  sampling: NO_WISHES,
  choices: 1,
  logprobs: null,
  tokens_max: null,
  context_tokens_max: null,
  tokens_min: 0,
  stop: [],
  stop_token_ids: [],
  ignore_eos: false,
  truncation: "disabled",
  constraint: null,
  prediction: null,
  echo: false,
  tells_tokens: false,
  priority: PRIORITY.normal,
  adapter: null,
  keep_s: null,
  ...PLAIN_CHAT,
};

export interface GenerationRequest extends GenerationWishes {
  readonly request_id: string;
  readonly model: string;
  readonly prompt: Prompt;
}

/** A token and the logarithm of its probability in its place. */
export interface TokenLogprob {
  readonly token_id: number;
  readonly logprob: number;
}

/** A drawn token, with the likeliest ones in its place, the best first. */
export interface DrawnLogprob extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

/** Why a row ends by itself. */
export type RowFinish = "stop" | "length";

/** `tool_calls`: the answer ended by itself and calls tools. */
export type FinishReason = RowFinish | "tool_calls";

/** What has become of the tokens that were drafted from a prediction. */
export interface Predicted {
  readonly accepted_tokens: number;
  readonly rejected_tokens: number;
}

/** What a row has come to in one step. */
export interface RowStep {
  readonly token_ids: readonly number[];
  /** Of each of these tokens, when the row asks for it. */
  readonly logprobs: readonly DrawnLogprob[];
  /** Of prompt tokens, from the second on and each once, when the row asks for them; absent where there are none. */
  readonly prompt_logprobs?: readonly DrawnLogprob[];
  /** Prompt tokens that needed not be computed. */
  readonly cached_tokens: number;
  /** So far; absent without a prediction. */
  readonly predicted?: Predicted;
  readonly finish: RowFinish | null;
}

/** A token and its probability in the caller's words. */
export interface TokenReport {
  /** What the token adds to the text; the name of a special one; bytes that are no text by themselves as `bytes:\xe2\x80`. */
  readonly text: string;
  /** null: the token adds nothing to the text. */
  readonly bytes: readonly number[] | null;
  readonly logprob: number;
}

export interface DrawnReport extends Omit<TokenReport, "logprob"> {
  /** null: nothing stands before it. */
  readonly logprob: number | null;
  /** Characters of the answer before it. */
  readonly text_offset: number;
  readonly top: readonly TokenReport[];
}

export interface Usage {
  /** Of the one prompt, however many choices there are. */
  readonly prompt_tokens: number;
  /** How many of them needed not be computed. */
  readonly cached_tokens: number;
  readonly completion_tokens: number;
  /** How many of those were a thought; null: nobody counted. */
  readonly reasoning_tokens: number | null;
  /** Absent without a prediction. */
  readonly predicted?: Predicted;
}

/** Where the time of an answer went, in milliseconds. */
export interface Timing {
  /** Until its model was in memory. */
  readonly load_ms: number;
  /** From then on until its first token: the prompt is read, after others when there are many. */
  readonly prompt_ms: number;
  readonly answer_ms: number;
}

/** What was not understood. Of text that is no call, `text` is also content; "ignored" is in the report only. */
export interface ParseReport {
  readonly trouble: "malformed" | "unfinished" | "ignored";
  readonly reason: string;
  readonly text: string;
}

/**
 * A generation is one `start`, then what its choices say, one `finish` for each choice and nothing of it behind, then exactly
 * one terminal: `end`, or a thrown `Failure`. No text ends inside a character, and one may stand for several tokens.
 * A `call` begins before its `arguments`, and the one before it has all of them then.
 */
export type GenerationEvent =
  /** `steadied_lines`: of the prompt, not read as they came; absent where all were. */
  | { readonly kind: "start"; readonly prompt_tokens: number; readonly steadied_lines?: number }
  | {
      readonly kind: "text";
      readonly choice: number;
      readonly text: string;
      /** The tokens that begin in this text, when `logprobs` asked for them. */
      readonly tokens: readonly DrawnReport[];
    }
  | { readonly kind: "reasoning"; readonly choice: number; readonly text: string }
  /** `index` counts the calls of the choice. */
  | {
      readonly kind: "call";
      readonly choice: number;
      readonly index: number;
      readonly id: string;
      readonly name: string;
    }
  /** Goes behind what came of the call's arguments before. */
  | { readonly kind: "arguments"; readonly choice: number; readonly index: number; readonly text: string }
  | {
      readonly kind: "finish";
      readonly choice: number;
      readonly reason: FinishReason;
      /** The text of `stop` that ended the answer. */
      readonly stop_text: string | null;
      /** What of a chat's answer was not understood; absent where all was. */
      readonly reports?: readonly ParseReport[];
    }
  /** `timing` is absent where nobody measured, `token_ids` where nobody asked or whoever answers has none. */
  | {
      readonly kind: "end";
      readonly usage: Usage;
      readonly timing?: Timing;
      readonly token_ids?: readonly number[];
    };
