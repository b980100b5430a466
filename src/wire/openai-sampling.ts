/** The parameters that say how a token is drawn: OpenAI's, and those its relatives share. Knows no HTTP and no model. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import { ALL_TOKENS, BIAS_BAN, BIAS_FORCE, type SamplingWishes, type TokenBias } from "../core/generation.ts";
import { optional } from "./schema.ts";

// All of them are looked at for every token of the answer. OpenAI takes 300.
const BIASES_MAX = 1024;

const probability = (description: string) => optional(Type.Number({ minimum: 0, maximum: 1, description }));
const penalty = (description: string) => optional(Type.Number({ minimum: -2, maximum: 2, description }));

export const samplingParameters = {
  temperature: optional(Type.Number({ minimum: 0, maximum: 2, description: "0 always takes the best token." })),
  top_k: optional(
    Type.Integer({ minimum: -1, description: "Draws from this many best tokens; 0, or vLLM's -1, from all." }),
  ),
  typical_p: probability(
    "Draws from the tokens that surprise as one should expect, until they reach this probability.",
  ),
  top_p: probability("Draws from the best tokens that reach this probability."),
  min_p: probability("Drops tokens below this share of the best one's probability."),
  xtc_probability: probability("How often all top choices but the least likely are dropped."),
  xtc_threshold: optional(
    Type.Number({
      minimum: 0,
      maximum: 0.5, // above it no two tokens can be
      description: "The probability that makes a token a top choice; 0.1 unless told.",
    }),
  ),
  presence_penalty: penalty("Taken from the logit of each token that is in the answer."),
  frequency_penalty: penalty("Taken from a token's logit for each time it is in the answer."),
  repetition_penalty: optional(
    Type.Number({
      minimum: 0.1, // 0 would divide by it
      maximum: 10,
      description: "Divides the positive and multiplies the negative logits of tokens in the prompt or the answer.",
    }),
  ),
  repeat_penalty: optional(
    Type.Number({ minimum: 0.1, maximum: 10, description: "The same, by llama.cpp's and LM Studio's name." }),
  ),
  repeat_last_n: optional(
    Type.Integer({ minimum: -1, description: "The penalties look at so many of the last tokens; -1 at every one." }),
  ),
  logit_bias: optional(
    Type.Record(Type.String(), Type.Number({ minimum: BIAS_BAN, maximum: BIAS_FORCE }), {
      description: `Added to the logits of at most ${BIASES_MAX} tokens, by their ids; ${BIAS_BAN} bans a token, ${BIAS_FORCE} leaves no other.`,
    }),
  ),
  seed: optional(
    Type.Integer({
      minimum: Number.MIN_SAFE_INTEGER, // a JSON number beyond it would be another seed than the one written
      maximum: Number.MAX_SAFE_INTEGER,
      description: "The same seed and request give the same answer.",
    }),
  ),
};

const sampling = Type.Object(samplingParameters);

export function samplingOf(body: Static<typeof sampling>): SamplingWishes {
  return {
    repetition_penalty: repetitionOf(body),
    frequency_penalty: body.frequency_penalty ?? null,
    presence_penalty: body.presence_penalty ?? null,
    penalty_window: body.repeat_last_n === -1 ? ALL_TOKENS : (body.repeat_last_n ?? null),
    logit_bias: body.logit_bias ? biasesOf(body.logit_bias) : null,
    temperature: body.temperature ?? null,
    top_k: body.top_k === -1 ? 0 : (body.top_k ?? null),
    typical_p: body.typical_p ?? null,
    top_p: body.top_p ?? null,
    min_p: body.min_p ?? null,
    xtc_probability: body.xtc_probability ?? null,
    xtc_threshold: body.xtc_threshold ?? null,
    seed: body.seed ?? null,
  };
}

function repetitionOf({ repetition_penalty, repeat_penalty }: Static<typeof sampling>): number | null {
  const [first, second] = [repetition_penalty, repeat_penalty].filter((value) => typeof value === "number");
  if (second === undefined || first === second) return first ?? null;
  const state = `"repetition_penalty" says ${first}, found ${second}`;
  throw new Failure("invalid_request", `Cannot use "repeat_penalty": ${state}`, "repeat_penalty");
}

function biasesOf(by_id: Readonly<Record<string, number>>): TokenBias[] {
  const names = Object.keys(by_id);
  if (names.length > BIASES_MAX) throw wrongBias(`expected at most ${BIASES_MAX} tokens, found ${names.length}`);
  const wrong = names.find((name) => !/^(?:0|[1-9]\d{0,9})$/.test(name));
  if (wrong !== undefined) throw wrongBias(`expected ids of tokens, found ${JSON.stringify(wrong.slice(0, 40))}`);
  return Object.entries(by_id).map(([name, bias]) => ({ token_id: Number(name), bias }));
}

function wrongBias(state: string): Failure {
  return new Failure("invalid_request", `Cannot use "logit_bias": ${state}`, "logit_bias");
}
