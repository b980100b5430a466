/** OpenAI's completions of a raw prompt: its request, answer and chunks. Knows no HTTP and no tokenizer. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { DrawnReport, GenerationEvent, Prompt } from "../core/generation.ts";
import {
  type AnswerHead,
  type AnswerWriter,
  bodySchema,
  chunkSchema,
  chunkWriter,
  finishReasonSchema,
  usageBody,
} from "./openai-answer.ts";
import { completionLogprobs, completionLogprobsSchema } from "./openai-logprobs.ts";
import {
  type AskedAnswer,
  deliveryOf,
  EXAMPLE_MODEL,
  LOGPROBS_MAX,
  sharedParameters,
  tokenId,
  wishesOf,
} from "./openai-parameters.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

/** What OpenAI's route does without a limit: a raw text seldom ends by itself. */
const TOKENS_MAX_DEFAULT = 16;

const tokenIds = Type.Array(Type.Union([tokenId, Type.String(), Type.Array(tokenId)]), {
  minItems: 1,
  description: "The ids of its tokens. Several prompts are understood, but not supported yet.",
  ...called("token ids"),
});

export const completionRequestSchema = strictObject(
  {
    prompt: Type.Union([Type.String(), tokenIds]),
    ...sharedParameters,
    logprobs: optional(
      Type.Integer({
        minimum: 0,
        maximum: LOGPROBS_MAX,
        description: "Tell how likely each token of the answer was, and so many of the likeliest in its place.",
      }),
    ),
  },
  ["best_of", "echo", "suffix", "user"],
  { examples: [{ model: EXAMPLE_MODEL, prompt: "The capital of France is", max_tokens: 8 }] },
);

type CompletionRequest = Static<typeof completionRequestSchema>;

export function readCompletion(body: CompletionRequest, request_id: string): AskedAnswer {
  const prompt = toPrompt(body.prompt);
  const wishes = wishesOf(body, TOKENS_MAX_DEFAULT, body.logprobs ?? null);
  return { generation: { request_id, model: body.model, prompt, ...wishes }, delivery: deliveryOf(body) };
}

function toPrompt(prompt: CompletionRequest["prompt"]): Prompt {
  if (typeof prompt === "string") return { kind: "text", text: prompt };
  const token_ids = prompt.filter((item) => typeof item === "number");
  if (token_ids.length === prompt.length) return { kind: "tokens", token_ids };
  const state = "several prompts in one request are not supported yet, expected one text or the ids of its tokens";
  throw new Failure("unsupported", `Cannot use "prompt": ${state}`, "prompt");
}

export function completionWriter(head: AnswerHead, { generation, delivery }: AskedAnswer): AnswerWriter {
  const write = chunkWriter<object>(head, "text_completion", delivery.include_usage);
  const told = (tokens: readonly DrawnReport[]) => (generation.logprobs === null ? null : completionLogprobs(tokens));
  return {
    body: ({ choices, usage }) => ({
      ...head,
      object: "text_completion",
      choices: choices.map(({ text, tokens, reason }, index) => {
        return { index, text, logprobs: told(tokens), finish_reason: reason };
      }),
      usage: usageBody(usage),
    }),
    chunks: (event: GenerationEvent) => {
      switch (event.kind) {
        case "start":
          return [];
        case "text": {
          const { choice: index, text, tokens } = event;
          return [write.choice({ index, text, logprobs: told(tokens), finish_reason: null })];
        }
        case "finish":
          return [write.choice({ index: event.choice, text: "", logprobs: null, finish_reason: event.reason })];
        case "end":
          return write.end(event.usage);
      }
    },
  };
}

const choiceProperties = { index: Type.Integer(), text: Type.String(), logprobs: completionLogprobsSchema };

export const completionBodySchema = bodySchema(
  "text_completion",
  Type.Object({ ...choiceProperties, finish_reason: finishReasonSchema }),
);

export const completionChunkSchema = chunkSchema(
  "text_completion",
  Type.Object({ ...choiceProperties, finish_reason: Type.Union([finishReasonSchema, Type.Null()]) }),
);
