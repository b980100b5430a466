/** What OpenAI's chat completions and completions share in their answers. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import type {
  DrawnReport,
  FinishReason,
  GenerationEvent,
  GenerationRequest,
  ParseReport,
  Timing,
  ToolCall,
  Usage,
} from "../core/generation.ts";
import { obfuscated } from "./openai-obfuscation.ts";

/** How the answer is sent. */
export interface Delivery {
  readonly stream: boolean;
  readonly include_usage: boolean;
  readonly include_obfuscation: boolean;
}

/** A whole generation, its choices in order. */
export interface Answer {
  readonly choices: readonly AnswerChoice[];
  readonly usage: Usage;
  /** null: nobody measured. */
  readonly timing: Timing | null;
  /** Of prompt and answer; null: not told. */
  readonly token_ids: readonly number[] | null;
}

export interface AnswerChoice {
  readonly text: string;
  readonly reasoning: string;
  readonly tool_calls: readonly ToolCall[];
  readonly tokens: readonly DrawnReport[];
  readonly reason: FinishReason;
  readonly stop_text: string | null;
  readonly reports: readonly ParseReport[];
}

/** Writes one answer in a dialect: whole, or event by event. */
export interface AnswerWriter {
  body(answer: Answer): object;
  chunks(event: GenerationEvent): readonly object[];
  /** The last chunk of a stream that had begun well, in a dialect that tells there how far it came. */
  failed?(error: unknown): object;
}

/** The fields that all parts of one answer repeat. */
export interface AnswerHead {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

/** The id of the answer repeats the hex of the request's, so that one finds the other. */
export function answerHead(prefix: string, request: GenerationRequest, now_ms: number, version: string): AnswerHead {
  return {
    id: `${prefix}-${request.request_id.replace(/^req_/, "")}`,
    created: Math.floor(now_ms / 1000),
    model: request.model,
    system_fingerprint: `bunsen-${version}`,
  };
}

export function usageBody({ prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, predicted }: Usage) {
  const details = {
    ...(reasoning_tokens === null ? {} : { reasoning_tokens }),
    ...(predicted === undefined
      ? {}
      : {
          accepted_prediction_tokens: predicted.accepted_tokens,
          rejected_prediction_tokens: predicted.rejected_tokens,
        }),
  };
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens },
    ...(Object.keys(details).length === 0 ? {} : { completion_tokens_details: details }),
  };
}

/** With `include_usage` every chunk has a usage, null in all but the last, which has no choice. */
export function chunkWriter<Choice extends object>(
  head: AnswerHead,
  object: string,
  { include_usage, include_obfuscation }: Delivery,
) {
  const nothing = include_usage ? { usage: null } : {};
  const sent = include_obfuscation ? obfuscated : (chunk: object) => chunk;
  return {
    choice: (choice: Choice) => sent({ ...head, object, choices: [choice], ...nothing }),
    end: (usage: Usage) => (include_usage ? [{ ...head, object, choices: [], usage: usageBody(usage) }] : []),
  };
}

const headSchemas = {
  id: Type.String(),
  created: Type.Integer({ description: "Seconds since the epoch." }),
  model: Type.String(),
  system_fingerprint: Type.String(),
};

const usageSchema = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  total_tokens: Type.Integer(),
  prompt_tokens_details: Type.Object({
    cached_tokens: Type.Integer({ description: "Prompt tokens that needed not be computed." }),
  }),
  completion_tokens_details: Type.Optional(
    Type.Object({
      reasoning_tokens: Type.Optional(Type.Integer({ description: "Tokens of a thought." })),
      accepted_prediction_tokens: Type.Optional(
        Type.Integer({ description: "Tokens of the prediction that were guessed and right." }),
      ),
      rejected_prediction_tokens: Type.Optional(Type.Integer({ description: "And those that were not." })),
    }),
  ),
});

export const finishReasonSchema = Type.Union([Type.Literal("stop"), Type.Literal("length")]);

/** The schema of a whole answer. */
export function bodySchema(object: string, choice: ReturnType<typeof Type.Object>) {
  return Type.Object({ ...headSchemas, object: Type.Literal(object), choices: Type.Array(choice), usage: usageSchema });
}

/** The schema of one chunk of a stream. */
export function chunkSchema(object: string, choice: ReturnType<typeof Type.Object>) {
  const usage = Type.Optional(Type.Union([usageSchema, Type.Null()]));
  const obfuscation = Type.Optional(Type.String({ description: "Padding, where it is asked for." }));
  return Type.Object({ ...headSchemas, object: Type.Literal(object), choices: Type.Array(choice), usage, obfuscation });
}
