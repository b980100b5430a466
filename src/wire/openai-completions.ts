/** OpenAI's completions of a raw prompt: its request, answer and chunks. Knows no HTTP and no tokenizer. */

import { type Static, Type } from "@sinclair/typebox";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { DrawnReport, GenerationEvent, GenerationRequest, Prompt } from "../core/generation.ts";
import {
  type AnswerChoice,
  type AnswerHead,
  type AnswerWriter,
  bodySchema,
  chunkSchema,
  chunkWriter,
  type Delivery,
  finishReasonSchema,
  usageBody,
} from "./openai-answer.ts";
import { completionLogprobs, completionLogprobsSchema } from "./openai-logprobs.ts";
import {
  deliveryOf,
  EXAMPLE_MODEL,
  LOGPROBS_MAX,
  NO_BOUND,
  sharedParameters,
  tokenId,
  wishesOf,
} from "./openai-parameters.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

/** What OpenAI's route does without a limit: a raw text seldom ends by itself. */
const TOKENS_MAX_DEFAULT = 16;

/** Beyond them rows would wait for one another; so many may be answered at once. */
const ANSWERS_MAX = 64;
const BEST_OF_MAX = 20; // OpenAI's own limit

const tokenIds = Type.Array(tokenId, { minItems: 1, ...called("token ids") });
const prompts = Type.Array(Type.Union([tokenId, Type.String(), tokenIds]), {
  minItems: 1,
  description: "The ids of its tokens; or several prompts, each a text or the ids of its tokens.",
  ...called("token ids or prompts"),
});

export const completionRequestSchema = strictObject(
  {
    prompt: Type.Union([Type.String(), prompts]),
    ...sharedParameters,
    max_tokens: optional(
      Type.Integer({
        minimum: NO_BOUND,
        description: "The most tokens to generate, or 0, for what `echo` tells alone; -1: until the model ends.",
      }),
    ),
    best_of: optional(
      Type.Integer({
        minimum: 1,
        maximum: BEST_OF_MAX,
        description: "Makes so many answers to each prompt and gives the `n` that are likeliest by the token.",
      }),
    ),
    suffix: optional(
      Type.String({ description: "What stands behind the answer, for models that know how to fill in." }),
    ),
    echo: optional(Type.Boolean({ description: "The prompt stands before its answer." })),
    logprobs: optional(
      Type.Integer({
        minimum: 0,
        maximum: LOGPROBS_MAX,
        description: "Tell how likely each token of the answer was, and so many of the likeliest in its place.",
      }),
    ),
  },
  [],
  { examples: [{ model: EXAMPLE_MODEL, prompt: "The capital of France is", max_tokens: 8 }] },
);

type CompletionRequest = Static<typeof completionRequestSchema>;

export interface AskedCompletion {
  /** One for each prompt, alike but for that. */
  readonly generations: readonly [GenerationRequest, ...GenerationRequest[]];
  readonly delivery: Delivery;
  /** How many answers to each prompt are given: the best of those that are made. */
  readonly choices: number;
  readonly tells_logprobs: boolean;
}

export function readCompletion(body: CompletionRequest, request_id: string): AskedCompletion {
  const delivery = deliveryOf(body);
  const logprobs = body.logprobs ?? null;
  const wishes = wishesOf(body, TOKENS_MAX_DEFAULT, logprobs);
  const { choices } = wishes;
  const made = bestOf(body, choices, delivery);
  const [first, ...others] = promptsOf(body);
  const count = (others.length + 1) * made;
  if (count > ANSWERS_MAX) {
    const state = `expected at most ${ANSWERS_MAX} answers to all prompts, found ${count}`;
    throw new Failure("invalid_request", `Cannot use "prompt": ${state}`, "prompt");
  }
  const ranked = made > choices ? (logprobs ?? 0) : logprobs;
  const alike = { request_id, model: body.model, ...wishes, choices: made, logprobs: ranked, echo: body.echo ?? false };
  return {
    generations: [{ ...alike, prompt: first }, ...others.map((prompt) => ({ ...alike, prompt }))],
    delivery,
    choices,
    tells_logprobs: logprobs !== null,
  };
}

function bestOf({ best_of, echo, logprobs = null }: CompletionRequest, choices: number, { stream }: Delivery): number {
  const made = best_of ?? choices;
  if (made < choices) throw wrongBestOf(`"n" says ${choices}, found ${made}`);
  if (made > choices && echo && logprobs !== null)
    throw wrongBestOf('with "echo" and "logprobs" the prompt would count too');
  if (made > choices && stream) throw wrongBestOf("which answers are the best shows at their end: it has no stream");
  return made;
}

function wrongBestOf(state: string): Failure {
  return new Failure("invalid_request", `Cannot use "best_of": ${state}`, "best_of");
}

/** Numbers side by side are one prompt. */
function promptsOf({ prompt, suffix: behind, echo }: CompletionRequest): [Prompt, ...Prompt[]] {
  const is_filled = typeof behind === "string";
  if (is_filled && (echo || (typeof prompt !== "string" && prompt.some((item) => typeof item !== "string")))) {
    const state = echo ? 'with "echo" it has no place' : "prompts of token ids are taken as they are";
    throw new Failure("invalid_request", `Cannot use "suffix": ${state}`, "suffix");
  }
  const spoken = (text: string): Prompt =>
    is_filled ? { kind: "fill", before: text, behind } : { kind: "text", text };
  if (typeof prompt === "string") return [spoken(prompt)];
  const token_ids = prompt.filter((item) => typeof item === "number");
  if (token_ids.length === prompt.length) return [{ kind: "tokens", token_ids }];
  if (token_ids.length > 0) {
    throw new Failure("invalid_request", 'Cannot use "prompt": expected token ids or prompts, found both', "prompt");
  }
  const [first, ...others] = prompt.flatMap((item): Prompt[] => {
    if (typeof item === "string") return [spoken(item)];
    return typeof item === "number" ? [] : [{ kind: "tokens", token_ids: item }];
  });
  assert(first !== undefined, "a list of prompts is not empty");
  return [first, ...others];
}

export function completionWriter(head: AnswerHead, asked: AskedCompletion): AnswerWriter {
  const { generations, delivery, tells_logprobs } = asked;
  const write = chunkWriter<object>(head, "text_completion", delivery);
  const told = (tokens: readonly DrawnReport[]) => (tells_logprobs ? completionLogprobs(tokens) : null);
  return {
    body: ({ choices, usage }) => ({
      ...head,
      object: "text_completion",
      choices: generations
        .flatMap(({ choices: made }, prompt) => best(choices.slice(prompt * made, (prompt + 1) * made), asked.choices))
        .map(({ text, tokens, reason }, index) => ({ index, text, logprobs: told(tokens), finish_reason: reason })),
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
        case "reasoning":
        case "call":
        case "arguments":
          throw new Error("A raw prompt has an answer of text only");
      }
    },
  };
}

/** The likeliest by the token, the best first; all in their order when none is left out. */
function best(choices: readonly AnswerChoice[], count: number): readonly AnswerChoice[] {
  if (choices.length === count) return choices;
  return choices.toSorted((one, other) => meanLogprob(other) - meanLogprob(one)).slice(0, count);
}

/** An answer without a token is the last choice. */
function meanLogprob({ tokens }: AnswerChoice): number {
  if (tokens.length === 0) return -Number.MAX_VALUE;
  return tokens.reduce((sum, { logprob }) => sum + (logprob ?? 0), 0) / tokens.length;
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
