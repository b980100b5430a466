/**
 * Parameters of OpenAI's chats that its relatives have brought up: OpenRouter, llama.cpp, vLLM, SGLang, LM Studio, LiteLLM and
 * others. Each has its effect, or may only say what is so anyway. Knows no chat template.
 */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import { ALL_TOKENS, type ReasoningWishes } from "../core/generation.ts";
import { optional, strictObject } from "./schema.ts";
import { notYet } from "./violation.ts";

const EFFORT_WORDS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const;
const effort = Type.Union(EFFORT_WORDS.map((word) => Type.Literal(word)));
const thoughtTokens = Type.Integer({ minimum: 0, description: "The most tokens of a thought." });

/** Only the one value, which is what happens anyway. */
function always(value: boolean | number, description: string) {
  return optional(Type.Literal(value, { ...notYet(!value), description }));
}

export const relativeParameters = {
  reasoning: optional(
    strictObject(
      {
        effort: optional(effort),
        max_tokens: optional(thoughtTokens),
        enabled: optional(Type.Boolean({ description: "`false` is the effort `none`, `true` some effort." })),
        exclude: always(false, "A thought is told."),
      },
      ["summary"],
      { description: "As OpenRouter says what `reasoning_effort` and `thinking_token_budget` say." },
    ),
  ),
  thinking: optional(
    strictObject(
      {
        type: Type.Union([Type.Literal("enabled"), Type.Literal("disabled"), Type.Literal("auto")]),
        budget_tokens: optional(thoughtTokens),
      },
      ["clear_thinking"],
      { description: "As Z.ai, DeepSeek and LiteLLM say it; `disabled` is the effort `none`, `enabled` some effort." },
    ),
  ),
  enable_thinking: optional(
    Type.Boolean({
      description: "The switch of that name in the model's own chat template, as Qwen's service has it.",
    }),
  ),
  verbosity: optional(
    Type.Union([Type.Literal("low"), Type.Literal("medium"), Type.Literal("high")], {
      description: "Told to a chat template that has it; `medium`: as the model does it.",
    }),
  ),
  ttl: optional(
    Type.Integer({ minimum: 1, description: "Seconds that the model stays in memory from then on, as in LM Studio." }),
  ),
  cache_prompt: always(true, "Every prompt is kept for the next that begins like it."),
  include_reasoning: always(true, "A thought is told."),
  separate_reasoning: always(true, "A thought is told apart."),
  stream_reasoning: always(true, "A thought is told as it comes."),
  skip_special_tokens: always(true, "Control tokens are no text."),
  include_stop_str_in_output: always(false, "The text that ended an answer is no part of it."),
  use_beam_search: always(false, "An answer is drawn token by token."),
  add_special_tokens: always(false, "The chat template says what is around a talk."),
  length_penalty: always(1, "It is of beams only."),
};

/** Known of these servers, and served here in no form. */
export const RELATIVES_LATER = [
  "allowed_token_ids",
  "bad_words",
  "chat_template",
  "documents",
  "draft_model",
  "dry_allowed_length",
  "dry_base",
  "dry_multiplier",
  "dynatemp_range",
  "echo",
  "id_slot",
  "logits_processors",
  "mirostat",
  "mirostat_eta",
  "mirostat_tau",
  "mm_processor_kwargs",
  "models",
  "n_probs",
  "plugins",
  "prompt_logprobs",
  "provider",
  "return_tokens_as_token_ids",
  "route",
  "samplers",
  "tfs_z",
  "timings_per_token",
  "top_a",
  "transforms",
  "truncate_prompt_tokens",
];

const relativeBody = Type.Object(relativeParameters);
type RelativeBody = Static<typeof relativeBody>;

/** With what the body says of thought in these words; what it says twice must be the same. */
export function reasoningWith(own: ReasoningWishes, { reasoning, thinking }: RelativeBody): ReasoningWishes {
  if (thinking?.type === "disabled" && typeof thinking.budget_tokens === "number") {
    throw wrong("thinking.budget_tokens", "thinking is disabled");
  }
  const efforts = [
    { parameter: "reasoning_effort", value: own.effort },
    { parameter: "reasoning.effort", value: reasoning?.effort ?? null },
    { parameter: "reasoning.enabled", value: reasoning?.enabled === false ? ("none" as const) : null },
    { parameter: "thinking.type", value: thinking?.type === "disabled" ? ("none" as const) : null },
  ];
  const bounds = [
    { parameter: "thinking_token_budget", value: own.tokens_max },
    { parameter: "reasoning.max_tokens", value: reasoning?.max_tokens ?? null },
    { parameter: "thinking.budget_tokens", value: thinking?.budget_tokens ?? null },
  ];
  const effort = oneOf(efforts);
  const tokens_max = oneOf(bounds);
  const switched = reasoning?.enabled ? "reasoning.enabled" : thinking?.type === "enabled" ? "thinking.type" : null;
  if (switched !== null && effort === "none") throw wrong(switched, "the effort is none");
  // Also where the template's default is no thought; how long it is stays with the model.
  if (switched !== null && effort === null) return { ...own, effort: "medium", tokens_max: tokens_max ?? ALL_TOKENS };
  return { ...own, effort, tokens_max };
}

/** Variables of the chat template that have parameters of their own; the template is asked whether it has them. */
export function templateOptionsWith(
  own: Readonly<Record<string, unknown>>,
  { enable_thinking, verbosity }: RelativeBody,
): Readonly<Record<string, unknown>> {
  return {
    ...(typeof enable_thinking === "boolean" ? { enable_thinking } : {}),
    ...(verbosity === "low" || verbosity === "high" ? { verbosity } : {}),
    ...own,
  };
}

interface Saying<Value> {
  readonly parameter: string;
  readonly value: Value | null;
}

function oneOf<Value extends string | number>(sayings: readonly Saying<Value>[]): Value | null {
  const [first, ...others] = sayings.filter(({ value }) => value !== null);
  const other = others.find(({ value }) => value !== first?.value);
  if (other === undefined) return first?.value ?? null;
  throw wrong(other.parameter, `"${first?.parameter}" says ${first?.value}, found ${other.value}`);
}

function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}
