/** The parameters that OpenAI's chat completions and completions share, and what they mean. Knows no HTTP and no model. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import { type GenerationRequest, type GenerationWishes, PLAIN_CHAT } from "../core/generation.ts";
import { PRIORITY } from "../core/priority.ts";
import type { Delivery } from "./openai-answer.ts";
import { constraintOf, constraintParameters } from "./openai-constraint.ts";
import { includeObfuscation } from "./openai-obfuscation.ts";
import { samplingOf, samplingParameters } from "./openai-sampling.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

/** A request as its route reads it. */
export interface AskedAnswer {
  readonly generation: GenerationRequest;
  readonly delivery: Delivery;
}

/** OpenAI takes 4; servers on one's own machine take more, and editors that fill in code send some ten. */
const STOP_TEXTS_MAX = 16;
/** A model has some ten tokens that end something. */
const STOP_TOKENS_MAX = 64;
/** As many as step together by default: more would wait for one another. */
const CHOICES_MAX = 16;
/** OpenAI's own limit, for both routes. */
export const LOGPROBS_MAX = 20;

/** For the example requests that the API page offers. */
export const EXAMPLE_MODEL = "SmolLM2-135M-Instruct";

export const tokenId = Type.Integer({ minimum: 0 });

const NOTE_LENGTH_MAX = 512; // OpenAI's own limit of a metadata value
export const note = (description: string) => optional(Type.String({ maxLength: NOTE_LENGTH_MAX, description }));

export const user = note("Who asks, for a provider that a request goes on to.");

export const NO_BOUND = -1;

const stopText = Type.String({ minLength: 1 });

export const sharedParameters = {
  model: Type.String({ minLength: 1, description: "The name of a model, as `GET /v1/models` lists it." }),
  adapter: optional(
    Type.String({ minLength: 1, description: "The name of a LoRA adapter; `model` may also say `model:adapter`." }),
  ),
  max_tokens: optional(
    Type.Union([Type.Integer({ minimum: 1 }), Type.Literal(NO_BOUND)], {
      description: "The most tokens to generate; -1, as of LM Studio and llama.cpp: until the model ends.",
    }),
  ),
  max_completion_tokens: optional(Type.Integer({ minimum: 1, description: "The same as `max_tokens`." })),
  min_tokens: optional(
    Type.Integer({ minimum: 0, description: "No token that ends the answer is drawn before so many others." }),
  ),
  ...samplingParameters,
  ...constraintParameters,
  n: optional(Type.Integer({ minimum: 1, maximum: CHOICES_MAX, description: "How many answers." })),
  stop: optional(
    Type.Union([stopText, Type.Array(stopText, { maxItems: STOP_TEXTS_MAX, ...called("texts") })], {
      description: "Generation ends before any of these texts.",
    }),
  ),
  stop_token_ids: optional(
    Type.Array(tokenId, {
      maxItems: STOP_TOKENS_MAX,
      description: "Generation ends at any of these tokens, and at the model's own.",
      ...called("token ids"),
    }),
  ),
  ignore_eos: optional(Type.Boolean({ description: "The model's own end tokens do not end the answer." })),
  stream: optional(Type.Boolean({ description: "Send the answer piece by piece, as server-sent events." })),
  stream_options: optional(
    strictObject(
      {
        include_usage: Type.Optional(Type.Boolean({ description: "Send a last chunk with the usage." })),
        include_obfuscation: includeObfuscation,
      },
      [],
    ),
  ),
  user,
};

const sharedBody = Type.Object(sharedParameters);
type SharedBody = Static<typeof sharedBody>;

export function deliveryOf({ stream, stream_options }: Omit<SharedBody, "model">): Delivery {
  if (stream_options && stream !== true) {
    throw new Failure("invalid_request", 'Cannot use "stream_options": it needs "stream": true', "stream_options");
  }
  const { include_usage = false, include_obfuscation = false } = stream_options ?? {};
  return { stream: stream ?? false, include_usage, include_obfuscation };
}

/**
 * What a request asks for beside its prompt. `tokens_max_default`: null leaves the end to the model.
 * Each dialect has its own way to ask for `logprobs`.
 */
export function wishesOf(
  body: Omit<SharedBody, "model">,
  tokens_max_default: number | null,
  logprobs: number | null,
): GenerationWishes {
  const wanted = tokensMaxOf(body) ?? tokens_max_default;
  const tokens_max = wanted === NO_BOUND ? null : wanted;
  return {
    sampling: samplingOf(body),
    choices: body.n ?? 1,
    logprobs,
    tokens_max,
    context_tokens_max: null,
    tokens_min: tokensMinOf(body, tokens_max),
    stop: typeof body.stop === "string" ? [body.stop] : (body.stop ?? []),
    stop_token_ids: body.stop_token_ids ?? [],
    ignore_eos: body.ignore_eos ?? false,
    truncation: "disabled",
    tells_tokens: false,
    constraint: constraintOf(body),
    prediction: null,
    echo: false,
    priority: PRIORITY.normal,
    adapter: body.adapter ?? null,
    keep_s: null,
    ...PLAIN_CHAT,
  };
}

function tokensMaxOf(body: Omit<SharedBody, "model">): number | null {
  const { max_tokens, max_completion_tokens } = body;
  const both = typeof max_tokens === "number" && typeof max_completion_tokens === "number";
  if (both && max_tokens !== max_completion_tokens) {
    const state = `"max_completion_tokens" says ${max_completion_tokens}, found ${max_tokens}`;
    throw new Failure("invalid_request", `Cannot use "max_tokens": ${state}`, "max_tokens");
  }
  return max_completion_tokens ?? max_tokens ?? null;
}

function tokensMinOf({ min_tokens }: Omit<SharedBody, "model">, tokens_max: number | null): number {
  const tokens_min = min_tokens ?? 0;
  if (tokens_max === null || tokens_min <= tokens_max) return tokens_min;
  const state = `the answer has at most ${tokens_max} tokens, found ${tokens_min}`;
  throw new Failure("invalid_request", `Cannot use "min_tokens": ${state}`, "min_tokens");
}
