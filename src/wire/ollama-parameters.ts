/** What Ollama's chats, prompts and embeddings share in their requests, and what it means. Knows no HTTP and no model. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import {
  ALL_TOKENS,
  type GenerationRequest,
  type GenerationWishes,
  PLAIN_ANSWER,
  type ReasoningWishes,
  type SamplingWishes,
} from "../core/generation.ts";
import type { Constraint } from "../core/grammar.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

export interface OllamaAsked {
  readonly generation: GenerationRequest;
  readonly stream: boolean;
}

/** More than any client of Ollama's sends. */
const STOP_TEXTS_MAX = 16;
/** Ollama's own limit. */
const LOGPROBS_MAX = 20;

export const EXAMPLE_MODEL = "SmolLM2-135M-Instruct";

const probability = optional(Type.Number({ minimum: 0, maximum: 1 }));
const penalty = optional(Type.Number({ minimum: -2, maximum: 2 }));
const stopText = Type.String({ minLength: 1 });

const UNUSED = "Tells llama.cpp how to use the machine. Taken, and of no effect: the answer is the same either way.";
const unused = (schema: TSchema) => optional({ ...schema, description: UNUSED });
const number = Type.Number();
const flag = Type.Boolean();

/** How llama.cpp is to go about it; many clients send these with every request. */
const machineOptions = {
  num_thread: unused(number),
  num_gpu: unused(number),
  main_gpu: unused(number),
  num_batch: unused(number),
  num_keep: unused(number), // of a context that is shifted, which none is here
  numa: unused(flag),
  low_vram: unused(flag),
  use_mmap: unused(flag),
  use_mlock: unused(flag),
  f16_kv: unused(flag),
};

const contextBound = optional(
  Type.Integer({ minimum: 1, description: "Prompt and answer, or a text to embed, have at most so many tokens." }),
);

/** How an answer is made. */
const answerOptions = {
  temperature: optional(Type.Number({ minimum: 0, maximum: 2, description: "0 always takes the best token." })),
  top_k: optional(Type.Integer({ minimum: 0 })),
  top_p: probability,
  min_p: probability,
  typical_p: probability,
  repeat_penalty: optional(Type.Number({ minimum: 0.1, maximum: 10 })),
  repeat_last_n: optional(Type.Integer({ minimum: -1, description: "-1 looks at every token." })),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  seed: optional(
    Type.Integer({
      minimum: Number.MIN_SAFE_INTEGER,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "-1 is another at each request.",
    }),
  ),
  num_predict: optional(
    Type.Integer({
      minimum: -2,
      description: "The most tokens to generate; 0 and less: until the model ends or its context is full.",
    }),
  ),
  stop: optional(
    Type.Union([stopText, Type.Array(stopText, { maxItems: STOP_TEXTS_MAX, ...called("texts") })], {
      description: "Generation ends before any of these texts.",
    }),
  ),
  num_ctx: contextBound,
  mirostat: optional(Type.Literal(0, { description: "It is off." })),
  mirostat_tau: optional(Type.Number({ description: "Of mirostat, which is off." })),
  mirostat_eta: optional(Type.Number({ description: "Of mirostat, which is off." })),
  penalize_newline: optional(Type.Literal(true, { description: "A line's end is a token like others." })),
  tfs_z: optional(Type.Literal(1, { description: "It is off." })),
};

const ollamaOptions = optional(
  strictObject({ ...answerOptions, ...machineOptions }, ["logits_all", "vocab_only", "embedding_only"]),
);

/** Texts are neither sampled nor generated; clients send the options for answers with them, as null. */
export const ollamaReadingOptions = optional(
  strictObject({ ...machineOptions, num_ctx: contextBound }, Object.keys(answerOptions)),
);

export const keepAlive = optional(
  Type.Union([Type.String(), Type.Number()], {
    description:
      'How long the model stays in memory when nobody asks for it: seconds, or as in "5m"; 0 unloads it afterwards, below 0 it stays for ever.',
  }),
);

export const ollamaModel = Type.String({
  minLength: 1,
  description: "As `GET /api/tags` lists it; `:latest` may follow.",
});

export const ollamaShared = {
  model: ollamaModel,
  stream: optional(Type.Boolean({ description: "Send the answer line by line, which is the default." })),
  format: optional(
    Type.Union([Type.Literal(""), Type.Literal("json"), Type.Record(Type.String(), Type.Unknown())], {
      description: '"json" for any object, or a JSON Schema. The answer is of that form unless it was cut.',
    }),
  ),
  options: ollamaOptions,
  think: optional(
    Type.Union([Type.Boolean(), ...(["low", "medium", "high", "max"] as const).map((level) => Type.Literal(level))], {
      description: "Whether a model that can think does, and how much; what it thought is told beside the answer.",
    }),
  ),
  keep_alive: keepAlive,
  logprobs: optional(Type.Boolean({ description: "Tell how likely each token of the answer was." })),
  top_logprobs: optional(
    Type.Integer({ minimum: 0, maximum: LOGPROBS_MAX, description: "And so many of the likeliest in its place." }),
  ),
  truncate: optional(
    Type.Boolean({
      description:
        "Of a talk that does not fit, the oldest turns are left out, which is the default; the system's words and the last message stay. false refuses it.",
    }),
  ),
  shift: optional(Type.Literal(false, { description: "An answer ends when the context is full." })),
  _debug_render_only: optional(Type.Literal(false)), // Ollama's own client sends it
};

const sharedBody = Type.Object(ollamaShared);
type SharedBody = Omit<Static<typeof sharedBody>, "model">;

export function ollamaWishes(body: SharedBody): GenerationWishes {
  const options = body.options ?? {};
  const { num_predict, stop } = options;
  return {
    ...PLAIN_ANSWER,
    sampling: samplingOf(options),
    logprobs: logprobsOf(body),
    tokens_max: typeof num_predict === "number" && num_predict > 0 ? num_predict : null,
    stop: typeof stop === "string" ? [stop] : (stop ?? []),
    constraint: constraintOf(body.format),
    reasoning: reasoningOf(body.think),
    context_tokens_max: options.num_ctx ?? null,
    keep_s: keepSeconds(body.keep_alive),
    truncation: truncationOf(body.truncate),
  };
}

/** Whoever says nothing is left with what a provider does. */
function truncationOf(truncate: SharedBody["truncate"]): GenerationWishes["truncation"] {
  if (truncate === false) return "disabled";
  return truncate ? "auto" : "here";
}

/** Ollama's clients send what they do not use as an empty value: that is the same as nothing. */
export function refuseUnlessEmpty(parameter: string, value: unknown, state: string): void {
  if (value === undefined || value === null || value === "" || value === false) return;
  if (Array.isArray(value) && value.length === 0) return;
  throw new Failure("unsupported", `Cannot use "${parameter}": ${state}`, parameter);
}

const UNIT_S: Readonly<Record<string, number>> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Infinite below 0, null where nothing is said. A number, also as a text, is of seconds. */
export function keepSeconds(said: string | number | null | undefined): number | null {
  if (said === undefined || said === null || said === "") return null;
  const seconds = typeof said === "number" ? said : durationOf(said);
  return seconds < 0 ? Number.POSITIVE_INFINITY : seconds;
}

/** As in Go: "1h30m", "-1m", "0.5s". */
function durationOf(text: string): number {
  const [, sign = "", amount = ""] =
    /^([-+]?)(\d+(?:\.\d+)?|(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)$/.exec(text) ?? [];
  if (amount === "") {
    const state = `expected seconds or a duration as in "5m", found ${JSON.stringify(text.slice(0, 40))}`;
    throw new Failure("invalid_request", `Cannot use "keep_alive": ${state}`, "keep_alive");
  }
  const parts = [...amount.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|$)/g)];
  const seconds = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNIT_S[unit ?? ""] ?? 1), 0);
  return sign === "-" ? -seconds : seconds;
}

function samplingOf(options: NonNullable<SharedBody["options"]>): SamplingWishes {
  const { repeat_last_n, seed } = options;
  return {
    ...PLAIN_ANSWER.sampling,
    repetition_penalty: options.repeat_penalty ?? null,
    frequency_penalty: options.frequency_penalty ?? null,
    presence_penalty: options.presence_penalty ?? null,
    penalty_window: repeat_last_n === -1 ? ALL_TOKENS : (repeat_last_n ?? null),
    temperature: options.temperature ?? null,
    top_k: options.top_k ?? null,
    typical_p: options.typical_p ?? null,
    top_p: options.top_p ?? null,
    min_p: options.min_p ?? null,
    seed: seed === -1 ? null : (seed ?? null),
  };
}

function logprobsOf({ logprobs, top_logprobs }: SharedBody): number | null {
  if (logprobs) return top_logprobs ?? 0;
  if (!top_logprobs) return null;
  throw new Failure("invalid_request", 'Cannot use "top_logprobs": it needs "logprobs": true', "top_logprobs");
}

function constraintOf(format: SharedBody["format"]): Constraint | null {
  if (format === undefined || format === null || format === "") return null;
  return { kind: "json_schema", parameter: "format", schema: format === "json" ? { type: "object" } : format };
}

/** To think without a level is to think as much as one does: without a bound. */
function reasoningOf(think: SharedBody["think"]): ReasoningWishes {
  if (think === undefined || think === null) return { effort: null, tokens_max: null };
  if (typeof think === "string") return { effort: think, tokens_max: null };
  return think ? { effort: "medium", tokens_max: ALL_TOKENS } : { effort: "none", tokens_max: null };
}
