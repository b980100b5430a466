/** Anthropic's messages: their request. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import {
  type GenerationRequest,
  NO_WISHES,
  PLAIN_ANSWER,
  type ReasoningEffort,
  type ReasoningWishes,
  type ToolChoice,
  type ToolDefinition,
} from "../core/generation.ts";
import type { Constraint } from "../core/grammar.ts";
import { cacheControl } from "./anthropic-blocks.ts";
import { promptOf } from "./anthropic-prefill.ts";
import { messagesOf, texts, turns, wrong } from "./anthropic-turns.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

/** A request as its route reads it. */
export interface AskedMessage {
  readonly generation: GenerationRequest;
  readonly stream: boolean;
  /** Otherwise the caller is told that there was a thought, and not which. */
  readonly thoughts_shown: boolean;
}

const STOP_TEXTS_MAX = 64;
const TOOLS_MAX = 1024;
/** Anthropic's own limit. */
const BUDGET_TOKENS_MIN = 1024;

/** With which name Anthropic's own tools begin, behind which stands the day of their version. */
const SERVED_TOOLS =
  /^(?:advisor|bash|browser|code_execution|computer|mcp|memory|text_editor|tool_search_tool|web_fetch|web_search)_/;

const tool = strictObject(
  {
    type: optional(Type.Literal("custom", notYet(SERVED_TOOLS))),
    name: Type.String({ pattern: "^[a-zA-Z0-9_.:-]{1,128}$" }),
    description: optional(Type.String()),
    input_schema: Type.Object({ type: Type.Literal("object") }, { description: "A JSON Schema of an object." }),
    strict: optional(Type.Boolean({ description: "Arguments that break the schema are never given." })),
    cache_control: cacheControl,
    input_examples: optional(
      Type.Array(Type.Record(Type.String(), Type.Unknown()), {
        description: "Told to the model behind the description.",
        ...called("inputs"),
      }),
    ),
    allowed_callers: optional(
      Type.Array(Type.Literal("direct", notYet(/^code_execution_/)), { description: "The model itself." }),
    ),
    defer_loading: optional(
      Type.Literal(false, { ...notYet(true), description: "The model is told of every tool from the beginning." }),
    ),
    eager_input_streaming: optional(Type.Boolean({ description: "Arguments come as they are written in any case." })),
  },
  [],
);

const alone = { disable_parallel_tool_use: optional(Type.Boolean({ description: "At most one call." })) };

const toolChoice = Type.Union([
  strictObject({ type: Type.Literal("auto"), ...alone }, []),
  strictObject({ type: Type.Literal("any"), ...alone }, []),
  strictObject({ type: Type.Literal("tool"), name: Type.String(), ...alone }, []),
  strictObject({ type: Type.Literal("none") }, []),
]);

const display = optional(
  Type.Union([Type.Literal("summarized"), Type.Literal("omitted")], {
    description: "`omitted`: the thought is not told. A thought that is told is told whole.",
  }),
);

const thinking = Type.Union(
  [
    strictObject(
      {
        type: Type.Literal("enabled"),
        budget_tokens: Type.Integer({
          minimum: BUDGET_TOKENS_MIN,
          description: "A thought ends after so many tokens.",
        }),
        display,
      },
      [],
    ),
    strictObject({ type: Type.Literal("adaptive"), display }, []),
    strictObject({ type: Type.Literal("disabled") }, []),
  ],
  notYet("between_tools"),
);

const outputFormat = optional(
  strictObject({ type: Type.Literal("json_schema"), schema: Type.Record(Type.String(), Type.Unknown()) }, []),
);

const outputConfig = strictObject(
  {
    effort: optional(
      Type.Union([
        Type.Literal("low"),
        Type.Literal("medium"),
        Type.Literal("high"),
        Type.Literal("xhigh"),
        Type.Literal("max"),
      ]),
    ),
    format: outputFormat,
  },
  ["task_budget"],
);

/** Claude Code sends it with every request. */
const contextManagement = strictObject(
  {
    edits: optional(
      Type.Array(
        strictObject(
          {
            type: Type.Literal("clear_thinking_20251015", notYet("clear_tool_uses_20250919", "compact_20260112")),
            keep: optional(
              Type.Union([
                Type.Literal("all"),
                strictObject({ type: Type.Literal("all") }, []),
                strictObject({ type: Type.Literal("thinking_turns"), value: Type.Integer({ minimum: 1 }) }, []),
              ]),
            ),
          },
          [],
          { description: "The model reads the thoughts of so many of the last turns, or all; of one unless told." },
        ),
        { maxItems: 1, ...called("edits") },
      ),
    ),
  },
  [],
);

/** What decides of how many tokens a prompt is. */
const promptParameters = {
  model: Type.String({ minLength: 1, description: "The name of a model, as `GET /v1/models` lists it." }),
  messages: turns,
  system: optional(texts),
  tools: optional(Type.Array(tool, { maxItems: TOOLS_MAX, ...called("tools") })),
  tool_choice: optional(toolChoice),
  thinking: optional(thinking),
  output_config: optional(outputConfig),
  context_management: optional(contextManagement),
  output_format: outputFormat,
  speed: optional(Type.Literal("standard", { ...notYet("fast"), description: "There is one speed." })),
  cache_control: cacheControl,
};

const LATER = [
  "billing_policy",
  "compaction",
  "container",
  "diagnostics",
  "fallback_credit_token",
  "fallbacks",
  "inference_geo",
  "mcp_servers",
  "thread",
  "user_profile_id",
  "workspace_id",
];

export const countRequestSchema = strictObject(promptParameters, LATER);

export const messageRequestSchema = strictObject(
  {
    ...promptParameters,
    max_tokens: Type.Integer({
      minimum: 0,
      description: "The most tokens to generate; 0 has the prompt read, so that it is kept for the next.",
    }),
    temperature: optional(Type.Number({ minimum: 0, maximum: 1 })),
    top_p: optional(Type.Number({ minimum: 0, maximum: 1 })),
    top_k: optional(Type.Integer({ minimum: 0, description: "Draws from this many best tokens; 0 from all." })),
    stop_sequences: optional(
      Type.Array(Type.String({ minLength: 1 }), { maxItems: STOP_TEXTS_MAX, ...called("texts") }),
    ),
    stream: optional(Type.Boolean({ description: "Send the answer piece by piece, as server-sent events." })),
    metadata: optional(
      strictObject({ user_id: optional(Type.String({ description: "Stays unread: all callers are equal." })) }, []),
    ),
    service_tier: optional(
      Type.Union([Type.Literal("auto"), Type.Literal("standard_only")], {
        description: "There is one tier, `standard`, and the usage says so.",
      }),
    ),
  },
  LATER,
);

type CountRequest = Static<typeof countRequestSchema>;
type MessageRequest = Static<typeof messageRequestSchema>;

export function readMessage(body: MessageRequest, request_id: string): AskedMessage {
  const { temperature = null, top_p = null, top_k = null, max_tokens, stop_sequences, stream } = body;
  const generation = {
    ...readCount(body, request_id),
    sampling: { ...NO_WISHES, temperature, top_p, top_k },
    tokens_max: max_tokens,
    stop: stop_sequences ?? [],
  };
  const { thinking } = body;
  const thoughts_shown = !thinking || !("display" in thinking) || thinking.display !== "omitted";
  return { generation, stream: stream ?? false, thoughts_shown };
}

export function readCount(body: CountRequest, request_id: string): GenerationRequest {
  const tools = (body.tools ?? []).map(toTool);
  const constraint = constraintOf(body);
  return {
    ...PLAIN_ANSWER,
    request_id,
    model: body.model,
    prompt: promptOf(messagesOf(body.system, remembered(body)), {
      thinking: body.thinking?.type === "enabled" ? "thinking" : null,
      form: constraint?.parameter ?? null,
    }),
    constraint,
    tools,
    tool_choice: choiceOf(body.tool_choice, tools),
    parallel_tool_calls: !(body.tool_choice && "disable_parallel_tool_use" in body.tool_choice)
      ? true
      : body.tool_choice.disable_parallel_tool_use !== true,
    reasoning: { ...reasoningOf(body), is_hint: true },
  };
}

/** The turns without the thoughts that are to be forgotten. */
function remembered({ messages, context_management }: CountRequest): CountRequest["messages"] {
  const [edit] = context_management?.edits ?? [];
  const keep = edit === undefined ? "all" : (edit.keep ?? ONE_TURN);
  if (keep === "all" || keep.type === "all") return messages;
  const thoughtful = messages.flatMap(({ content }, index) => {
    const thinks = typeof content !== "string" && content.some(({ type }) => type === "thinking");
    return thinks ? [index] : [];
  });
  const forgotten = new Set(thoughtful.slice(0, -keep.value));
  return messages.map((message, index) => {
    if (message.role !== "assistant" || typeof message.content === "string" || !forgotten.has(index)) return message;
    return { ...message, content: message.content.filter(({ type }) => type !== "thinking") };
  });
}

/** Anthropic's default. */
const ONE_TURN = { type: "thinking_turns", value: 1 } as const;

/** `output_format` is what betas of the API called it. */
function constraintOf({ output_config, output_format }: CountRequest): Constraint | null {
  const inner = output_config?.format;
  if (inner && output_format) throw wrong("output_format", '"output_config" says the form of the answer already');
  if (inner) return { kind: "json_schema", parameter: "output_config.format.schema", schema: inner.schema };
  if (!output_format) return null;
  return { kind: "json_schema", parameter: "output_format.schema", schema: output_format.schema };
}

function toTool({ name, description, input_schema, input_examples, strict }: Static<typeof tool>): ToolDefinition {
  const shown = (input_examples ?? []).map((input) => `Example of its input: ${JSON.stringify(input)}`);
  const told = [...(description ? [description] : []), ...shown].join("\n");
  return { name, description: told || null, parameters: { ...input_schema }, strict: strict ?? false };
}

function choiceOf(choice: CountRequest["tool_choice"], tools: readonly ToolDefinition[]): ToolChoice {
  switch (choice?.type) {
    case undefined:
    case "auto":
      return { kind: "auto" };
    case "none":
      return { kind: "none" };
    case "any":
      if (tools.length === 0) throw wrong("tool_choice", "there are no tools to choose from");
      return { kind: "required" };
    case "tool":
      if (tools.some(({ name }) => name === choice.name)) return { kind: "named", name: choice.name };
      throw wrong("tool_choice.name", `no tool is named ${JSON.stringify(choice.name)}`);
  }
}

function reasoningOf({ thinking, output_config }: CountRequest): ReasoningWishes {
  const effort = output_config?.effort ?? null;
  switch (thinking?.type) {
    case undefined:
    case "adaptive":
      return { effort, tokens_max: null };
    case "enabled":
      return { effort: effort ?? effortOf(thinking.budget_tokens), tokens_max: thinking.budget_tokens };
    case "disabled":
      if (effort === null) return { effort: "none", tokens_max: null };
      throw wrong("output_config.effort", "thinking is disabled");
  }
}

/** For models whose thought has grades and no length. */
function effortOf(budget_tokens: number): ReasoningEffort {
  if (budget_tokens < LOW_TOKENS) return "low";
  return budget_tokens < MEDIUM_TOKENS ? "medium" : "high";
}

const LOW_TOKENS = 4096;
const MEDIUM_TOKENS = 16_384;
