/** OpenAI's completions of a raw prompt: its request, answer and chunks. Knows no HTTP and no tokenizer. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { GenerationEvent, GenerationRequest, Prompt } from "../core/generation.ts";
import { PRIORITY } from "../core/priority.ts";
import {
  type AnswerHead,
  type AnswerWriter,
  bodySchema,
  chunkSchema,
  chunkWriter,
  finishReasonSchema,
  usageBody,
} from "./openai-answer.ts";
import { EXAMPLE_MODEL, sharedParameters, strictObject, type Wishes, wishesOf } from "./openai-parameters.ts";
import { called } from "./violation.ts";

/** What OpenAI's route does without a limit: a raw text seldom ends by itself. */
const TOKENS_MAX_DEFAULT = 16;

const tokenId = Type.Integer({ minimum: 0 });
const tokenIds = Type.Array(Type.Union([tokenId, Type.String(), Type.Array(tokenId)]), {
  minItems: 1,
  description: "The ids of its tokens. Several prompts are understood, but not supported yet.",
  ...called("token ids"),
});

export const completionRequestSchema = strictObject(
  { prompt: Type.Union([Type.String(), tokenIds]), ...sharedParameters },
  ["best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "n", "presence_penalty", "suffix", "user"],
  { examples: [{ model: EXAMPLE_MODEL, prompt: "The capital of France is", max_tokens: 8 }] },
);

type CompletionRequest = Static<typeof completionRequestSchema>;

export function readCompletion(
  body: CompletionRequest,
  request_id: string,
): { generation: GenerationRequest; wishes: Wishes } {
  const wishes = wishesOf(body, TOKENS_MAX_DEFAULT);
  const prompt = toPrompt(body.prompt);
  const { sampling, tokens_max, stop } = wishes;
  return {
    generation: { request_id, model: body.model, prompt, sampling, tokens_max, stop, priority: PRIORITY.normal },
    wishes,
  };
}

function toPrompt(prompt: CompletionRequest["prompt"]): Prompt {
  if (typeof prompt === "string") return { kind: "text", text: prompt };
  const token_ids = prompt.filter((item) => typeof item === "number");
  if (token_ids.length === prompt.length) return { kind: "tokens", token_ids };
  const state = "several prompts in one request are not supported yet, expected one text or the ids of its tokens";
  throw new Failure("unsupported", `Cannot use "prompt": ${state}`, "prompt");
}

export function completionWriter(head: AnswerHead, include_usage: boolean): AnswerWriter {
  const write = chunkWriter(head, "text_completion", include_usage);
  const choice = (text: string, finish_reason: string | null) => ({ index: 0, text, logprobs: null, finish_reason });
  return {
    body: ({ text, reason, usage }) => ({
      ...head,
      object: "text_completion",
      choices: [choice(text, reason)],
      usage: usageBody(usage),
    }),
    chunks: (event: GenerationEvent) => {
      switch (event.kind) {
        case "start":
          return [];
        case "text":
          return [write.choice(choice(event.text, null))];
        case "end":
          return [write.choice(choice("", event.reason)), ...write.end(event.usage)];
      }
    },
  };
}

const choiceProperties = { index: Type.Integer(), text: Type.String(), logprobs: Type.Null() };

export const completionBodySchema = bodySchema(
  "text_completion",
  Type.Object({ ...choiceProperties, finish_reason: finishReasonSchema }),
);

export const completionChunkSchema = chunkSchema(
  "text_completion",
  Type.Object({ ...choiceProperties, finish_reason: Type.Union([finishReasonSchema, Type.Null()]) }),
);
