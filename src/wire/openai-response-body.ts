/** The body of one of OpenAI's responses: what was asked, and what has come of it. Knows no event but of one that was lost. */

import { Type } from "@sinclair/typebox";
import type { Usage } from "../core/generation.ts";
import { toolInFull } from "./openai-response-tools.ts";
import type { ResponseRequest } from "./openai-responses.ts";
import { parseReportSchema } from "./parse-report.ts";

export type Status = "queued" | "in_progress" | "completed" | "incomplete" | "failed" | "cancelled";

interface Progress {
  readonly id: string;
  /** Seconds since the epoch. */
  readonly created_at: number;
  readonly now_at: number;
  readonly is_kept: boolean;
  readonly status: Status;
  readonly output: readonly object[];
  readonly usage: Usage;
}

export function responseBody(wishes: ResponseRequest, progress: Progress): object {
  const { id, created_at, now_at, is_kept, status, output, usage } = progress;
  return {
    id,
    object: "response",
    created_at,
    completed_at: status === "completed" ? now_at : null,
    status,
    error: null,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    output,
    usage: usageBody(usage),
    store: is_kept,
    ...echo(wishes),
  };
}

/** A kept answer that was to run on, and of which only its beginning is there: the server was stopped. */
export function cutShort(body: object): object {
  const message = "Cannot finish the answer: the server was stopped before it had ended";
  return { ...body, status: "failed", error: { code: "server_error", message } };
}

/** What is told of it behind event `after`. */
export function eventsOfCutShort(body: object, after: number): readonly object[] {
  const created = { type: "response.created", sequence_number: 0, response: body };
  const failed = { type: "response.failed", sequence_number: Math.max(after, 0) + 1, response: cutShort(body) };
  return after < 0 ? [created, failed] : [failed];
}

/** What was asked, and what holds where nothing was; null: it was left to the model. */
function echo(wishes: ResponseRequest): object {
  const { model, tools, text, reasoning } = wishes;
  const names = Object.keys(UNSAID) as (keyof typeof UNSAID)[];
  const said = names.flatMap((name) => (wishes[name] === undefined || wishes[name] === null ? [] : [name]));
  return {
    model,
    tools: (tools ?? []).map(toolInFull),
    text: { format: formatOf(text?.format) },
    reasoning: { effort: reasoning?.effort ?? null, summary: reasoning?.summary ?? null },
    ...UNSAID,
    ...Object.fromEntries(said.map((name) => [name, wishes[name]])),
    max_tool_calls: null,
    ...(wishes.user ? { user: wishes.user } : {}),
  };
}

const UNSAID = {
  previous_response_id: null,
  instructions: null,
  tool_choice: "auto",
  parallel_tool_calls: true,
  temperature: null,
  top_p: null,
  presence_penalty: 0,
  frequency_penalty: 0,
  top_logprobs: 0,
  max_output_tokens: null,
  truncation: "disabled",
  background: false,
  service_tier: "default",
  metadata: {},
  safety_identifier: null,
  prompt_cache_key: null,
} as const;

function formatOf(format: NonNullable<ResponseRequest["text"]>["format"]): object {
  if (format?.type !== "json_schema") return format ?? { type: "text" };
  return { ...format, strict: format.strict ?? false };
}

/** Nothing is counted apart for having been put into the cache: that is where every prompt goes. */
export function usageBody({ prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens }: Usage) {
  return {
    input_tokens: prompt_tokens,
    input_tokens_details: { cached_tokens, cache_write_tokens: 0 },
    output_tokens: completion_tokens,
    output_tokens_details: { reasoning_tokens: reasoning_tokens ?? 0 },
    total_tokens: prompt_tokens + completion_tokens,
  };
}

const nullableText = Type.Union([Type.String(), Type.Null()]);
const nullableInteger = Type.Union([Type.Integer(), Type.Null()]);

export const usageSchema = Type.Object({
  input_tokens: Type.Integer(),
  input_tokens_details: Type.Object({
    cached_tokens: Type.Integer({ description: "Prompt tokens that needed not be computed." }),
    cache_write_tokens: Type.Integer(),
  }),
  output_tokens: Type.Integer(),
  output_tokens_details: Type.Object({ reasoning_tokens: Type.Integer() }),
  total_tokens: Type.Integer(),
});

export const outputItemSchema = Type.Object({ type: Type.String(), id: Type.String() });

export const responseSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("response"),
  created_at: Type.Integer({ description: "Seconds since the epoch." }),
  completed_at: nullableInteger,
  status: Type.Union(
    (["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"] satisfies Status[]).map((status) =>
      Type.Literal(status),
    ),
  ),
  error: Type.Union([Type.Object({ code: Type.String(), message: Type.String() }), Type.Null()]),
  incomplete_details: Type.Union([Type.Object({ reason: Type.Literal("max_output_tokens") }), Type.Null()]),
  output: Type.Array(outputItemSchema, { description: "Messages, thoughts (`reasoning`) and calls, in their order." }),
  usage: usageSchema,
  store: Type.Boolean({ description: "Whether it is kept." }),
  model: Type.String(),
  previous_response_id: nullableText,
  instructions: nullableText,
  parse_report: parseReportSchema,
});

export const responseEventSchema = Type.Object({
  type: Type.String({ description: "`response.created` and the other names of OpenAI's events." }),
  sequence_number: Type.Integer(),
});
