/** The parameters that OpenAI's chat completions and completions share, and what they mean. Knows no HTTP and no model. */

import { type ObjectOptions, type Static, type TProperties, type TSchema, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { GenerationRequest, SamplingWishes } from "../core/generation.ts";
import { called, notYet } from "./violation.ts";

/** What a request asks for beside its prompt. */
export interface Wishes extends Pick<GenerationRequest, "sampling" | "stop"> {
  readonly tokens_max: number | null;
  readonly stream: boolean;
  readonly include_usage: boolean;
}

/** An object that refuses every property it does not name; `later` are those of OpenAI's that are not served yet. */
export function strictObject<Properties extends TProperties>(
  properties: Properties,
  later: readonly string[],
  options: ObjectOptions = {},
) {
  return Type.Object(properties, { ...options, additionalProperties: false, ...notYet(...later) });
}

/** OpenAI lets most parameters be null, which means absent. */
export function optional<Schema extends TSchema>(schema: Schema) {
  return Type.Optional(Type.Union([schema, Type.Null()]));
}

/** OpenAI's own limit. */
const STOP_TEXTS_MAX = 4;

/** For the example requests that the API page offers. */
export const EXAMPLE_MODEL = "SmolLM2-135M-Instruct";

const stopText = Type.String({ minLength: 1 });

export const sharedParameters = {
  model: Type.String({ minLength: 1, description: "The name of a model, as `GET /v1/models` lists it." }),
  max_tokens: optional(Type.Integer({ minimum: 1, description: "The most tokens to generate." })),
  max_completion_tokens: optional(Type.Integer({ minimum: 1, description: "The same as `max_tokens`." })),
  temperature: optional(Type.Number({ minimum: 0, maximum: 2, description: "0 always takes the best token." })),
  top_p: optional(
    Type.Number({ minimum: 0, maximum: 1, description: "Draws from the best tokens that reach this probability." }),
  ),
  top_k: optional(Type.Integer({ minimum: 0, description: "Draws from this many best tokens; 0 from all." })),
  min_p: optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      description: "Drops tokens below this share of the best one's probability.",
    }),
  ),
  seed: optional(
    Type.Integer({
      minimum: Number.MIN_SAFE_INTEGER, // a JSON number beyond it would be another seed than the one written
      maximum: Number.MAX_SAFE_INTEGER,
      description: "The same seed and request give the same answer.",
    }),
  ),
  stop: optional(
    Type.Union([stopText, Type.Array(stopText, { minItems: 1, maxItems: STOP_TEXTS_MAX, ...called("texts") })], {
      description: "Generation ends before any of these texts.",
    }),
  ),
  stream: optional(Type.Boolean({ description: "Send the answer piece by piece, as server-sent events." })),
  stream_options: optional(
    strictObject({ include_usage: Type.Optional(Type.Boolean({ description: "Send a last chunk with the usage." })) }, [
      "include_obfuscation",
    ]),
  ),
};

const sharedBody = Type.Object(sharedParameters);
type SharedBody = Static<typeof sharedBody>;

/** `tokens_max_default`: null leaves the end to the model. */
export function wishesOf(body: Omit<SharedBody, "model">, tokens_max_default: number | null): Wishes {
  const stream = body.stream ?? false;
  if (body.stream_options && !stream) {
    throw new Failure("invalid_request", 'Cannot use "stream_options": it needs "stream": true', "stream_options");
  }
  return {
    sampling: samplingOf(body),
    stop: typeof body.stop === "string" ? [body.stop] : (body.stop ?? []),
    tokens_max: tokensMaxOf(body) ?? tokens_max_default,
    stream,
    include_usage: body.stream_options?.include_usage ?? false,
  };
}

function samplingOf(body: Omit<SharedBody, "model">): SamplingWishes {
  return {
    temperature: body.temperature ?? null,
    top_k: body.top_k ?? null,
    top_p: body.top_p ?? null,
    min_p: body.min_p ?? null,
    seed: body.seed ?? null,
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
