/** Anthropic's messages: their request. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import {
  type AssistantMessage,
  type GenerationRequest,
  type Message,
  NO_WISHES,
  PLAIN_ANSWER,
  type ReasoningEffort,
  type ReasoningWishes,
  type ToolChoice,
  type ToolDefinition,
} from "../core/generation.ts";
import { thoughtIn } from "./anthropic-signature.ts";
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

/** What is computed once is kept, marked or not; a mark changes nothing, so it is never wrong. */
const cacheControl = optional(
  strictObject(
    {
      type: Type.Literal("ephemeral"),
      ttl: Type.Optional(Type.Union([Type.Literal("5m"), Type.Literal("1h")])),
    },
    [],
    { description: "Every prompt is kept for the next that begins like it, with this mark or without." },
  ),
);

const textBlock = strictObject(
  {
    type: Type.Literal("text"),
    text: Type.String(),
    cache_control: cacheControl,
    citations: Type.Optional(Type.Null()), // as our own answers carry it, so that one can be sent back
  },
  [],
);

const SIGHTS = ["image", "document", "search_result"] as const;
const SERVER_TOOLS = [
  "server_tool_use",
  "web_search_tool_result",
  "web_fetch_tool_result",
  "container_upload",
] as const;

const texts = Type.Union([Type.String(), Type.Array(textBlock, called("text blocks"))]);

const resultPart = strictObject(
  {
    type: Type.Literal("text", notYet(...SIGHTS, "tool_reference", "browser_state")),
    text: Type.String(),
    cache_control: cacheControl,
    citations: Type.Optional(Type.Null()),
  },
  ["source", "title", "content"],
);

const toolResult = strictObject(
  {
    type: Type.Literal("tool_result"),
    tool_use_id: Type.String({ minLength: 1 }),
    content: Type.Optional(Type.Union([Type.String(), Type.Array(resultPart, called("text blocks"))])),
    is_error: optional(Type.Boolean({ description: "The model reads that the tool has failed." })),
    cache_control: cacheControl,
  },
  ["toolset_name"],
);

const userMessage = strictObject(
  {
    role: Type.Literal("user"),
    content: Type.Union([
      Type.String(),
      Type.Array(Type.Union([textBlock, toolResult], notYet(...SIGHTS, ...SERVER_TOOLS)), called("blocks")),
    ]),
  },
  [],
);

const thinkingBlock = strictObject(
  { type: Type.Literal("thinking"), thinking: Type.String(), signature: Type.String() },
  [],
);

/** Another server's secret: nothing here can read it, and no model here has thought it. */
const redactedBlock = strictObject({ type: Type.Literal("redacted_thinking"), data: Type.String() }, []);

const toolUse = strictObject(
  {
    type: Type.Literal("tool_use"),
    id: Type.String({ minLength: 1 }),
    name: Type.String({ minLength: 1 }),
    input: Type.Record(Type.String(), Type.Unknown()),
    caller: Type.Optional(strictObject({ type: Type.Literal("direct") }, ["tool_id"])),
    cache_control: cacheControl,
  },
  ["toolset_name"],
);

const assistantMessage = strictObject(
  {
    role: Type.Literal("assistant"),
    content: Type.Union([
      Type.String(),
      Type.Array(
        Type.Union([textBlock, thinkingBlock, redactedBlock, toolUse], notYet(...SERVER_TOOLS)),
        called("blocks"),
      ),
    ]),
  },
  [],
);

const systemMessage = strictObject({ role: Type.Literal("system"), content: texts }, []);

const tool = strictObject(
  {
    type: Type.Optional(Type.Literal("custom")),
    name: Type.String({ pattern: "^[a-zA-Z0-9_.:-]{1,128}$" }),
    description: Type.Optional(Type.String()),
    input_schema: Type.Object({ type: Type.Literal("object") }, { description: "A JSON Schema of an object." }),
    strict: optional(Type.Boolean({ description: "Arguments that break the schema are never given." })),
    cache_control: cacheControl,
  },
  ["allowed_callers", "defer_loading", "eager_input_streaming", "input_examples"],
);

const alone = { disable_parallel_tool_use: Type.Optional(Type.Boolean({ description: "At most one call." })) };

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
    format: optional(
      strictObject({ type: Type.Literal("json_schema"), schema: Type.Record(Type.String(), Type.Unknown()) }, []),
    ),
  },
  ["task_budget"],
);

/** What decides of how many tokens a prompt is. */
const promptParameters = {
  model: Type.String({ minLength: 1, description: "The name of a model, as `GET /v1/models` lists it." }),
  messages: Type.Array(Type.Union([userMessage, assistantMessage, systemMessage]), {
    minItems: 1,
    ...called("messages"),
  }),
  system: Type.Optional(texts),
  tools: Type.Optional(Type.Array(tool, { maxItems: TOOLS_MAX, ...called("tools") })),
  tool_choice: Type.Optional(toolChoice),
  thinking: Type.Optional(thinking),
  output_config: Type.Optional(outputConfig),
  cache_control: cacheControl,
};

const LATER = ["container", "context_management", "diagnostics", "inference_geo", "mcp_servers", "speed"];

export const countRequestSchema = strictObject(promptParameters, LATER);

export const messageRequestSchema = strictObject(
  {
    ...promptParameters,
    max_tokens: Type.Integer({ minimum: 1, description: "The most tokens to generate." }),
    temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    top_p: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    top_k: Type.Optional(Type.Integer({ minimum: 0, description: "Draws from this many best tokens; 0 from all." })),
    stop_sequences: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), { maxItems: STOP_TEXTS_MAX, ...called("texts") }),
    ),
    stream: Type.Optional(Type.Boolean({ description: "Send the answer piece by piece, as server-sent events." })),
    metadata: Type.Optional(
      strictObject({ user_id: optional(Type.String({ description: "Stays unread: all callers are equal." })) }, []),
    ),
    service_tier: Type.Optional(
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
  const { temperature = null, top_p = null, top_k = null, max_tokens, stop_sequences = [], stream = false } = body;
  const generation = {
    ...readCount(body, request_id),
    sampling: { ...NO_WISHES, temperature, top_p, top_k },
    tokens_max: max_tokens,
    stop: stop_sequences,
  };
  const { thinking } = body;
  const thoughts_shown = thinking === undefined || !("display" in thinking) || thinking.display !== "omitted";
  return { generation, stream, thoughts_shown };
}

export function readCount(body: CountRequest, request_id: string): GenerationRequest {
  const tools = (body.tools ?? []).map(toTool);
  const schema = body.output_config?.format?.schema;
  const parameter = "output_config.format.schema";
  return {
    ...PLAIN_ANSWER,
    request_id,
    model: body.model,
    prompt: { kind: "messages", messages: messagesOf(body) },
    constraint: schema === undefined ? null : { kind: "json_schema", parameter, schema },
    tools,
    tool_choice: choiceOf(body.tool_choice, tools),
    parallel_tool_calls: !(body.tool_choice && "disable_parallel_tool_use" in body.tool_choice)
      ? true
      : body.tool_choice.disable_parallel_tool_use !== true,
    reasoning: reasoningOf(body),
  };
}

function toTool({ name, description, input_schema, strict }: Static<typeof tool>): ToolDefinition {
  return { name, description: description ?? null, parameters: { ...input_schema }, strict: strict ?? false };
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

function messagesOf({ system, messages }: CountRequest): Message[] {
  const told = system === undefined ? "" : textOf(system);
  const first: Message[] = told === "" ? [] : [{ role: "system", content: told }];
  const rest = messages.flatMap((message, index) => turnOf(message, `messages[${index}]`));
  refuseStrayResults(rest);
  if (rest.at(-1)?.role === "assistant") {
    const state = "the last is the assistant's, and to go on within it is not supported yet";
    throw new Failure("unsupported", `Cannot use "messages": ${state}`, "messages");
  }
  return joined([...first, ...rest]);
}

/** Blocks of a caller stand for themselves, so a model must see where one ends. */
const BETWEEN_BLOCKS = "\n\n";

function textOf(content: Static<typeof texts>): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join(BETWEEN_BLOCKS);
}

function turnOf(message: CountRequest["messages"][number], place: string): Message[] {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: textOf(message.content) }];
    case "assistant":
      return [assistantTurn(message)];
    case "user":
      return userTurn(message, place);
  }
}

function userTurn({ content }: Static<typeof userMessage>, place: string): Message[] {
  if (typeof content === "string") return [{ role: "user", content }];
  const said = content.filter((block) => block.type === "text");
  const results = content.filter((block) => block.type === "tool_result");
  const late = content.findLastIndex((block) => block.type === "tool_result");
  if (late >= results.length) throw wrong(`${place}.content[${late}]`, "results of tools go before text");
  const told = results.map((block) => {
    return { role: "tool", content: resultOf(block), tool_call_id: block.tool_use_id } as const;
  });
  return said.length === 0 && results.length > 0 ? told : [...told, { role: "user", content: textOf(said) }];
}

function resultOf({ content, is_error }: Static<typeof toolResult>): string {
  const text = typeof content === "string" ? content : (content ?? []).map(({ text }) => text).join(BETWEEN_BLOCKS);
  return is_error === true ? `Error: ${text}` : text;
}

/** The pieces of what a model said are one text. */
function assistantTurn({ content }: Static<typeof assistantMessage>): AssistantMessage {
  const blocks = typeof content === "string" ? [{ type: "text", text: content } as const] : content;
  const thoughts = blocks.flatMap((block) => (block.type === "thinking" ? [thoughtOf(block)] : []));
  return {
    role: "assistant",
    content: blocks.map((block) => (block.type === "text" ? block.text : "")).join(""),
    reasoning: thoughts.join("") === "" ? null : thoughts.join(BETWEEN_BLOCKS),
    tool_calls: blocks.flatMap((block) =>
      block.type === "tool_use" ? [{ id: block.id, name: block.name, arguments: JSON.stringify(block.input) }] : [],
    ),
  };
}

function thoughtOf({ thinking, signature }: Static<typeof thinkingBlock>): string {
  return thinking === "" ? thoughtIn(signature) : thinking;
}

function refuseStrayResults(messages: readonly Message[]): void {
  let called: readonly string[] = [];
  for (const message of messages) {
    if (message.role === "assistant") called = message.tool_calls.map(({ id }) => id);
    if (message.role !== "tool" || called.includes(message.tool_call_id)) continue;
    throw wrong("tool_use_id", `the message before calls no tool by ${JSON.stringify(message.tool_call_id)}`);
  }
}

/** Turns of one role that follow each other are one: many templates know no other talk. */
function joined(messages: readonly Message[]): Message[] {
  const turns: Message[] = [];
  for (const message of messages) {
    const before = turns.at(-1);
    if (message.role === "user" && before?.role === "user") {
      turns.splice(-1, 1, { role: "user", content: before.content + BETWEEN_BLOCKS + message.content });
    } else if (message.role === "assistant" && before?.role === "assistant") {
      turns.splice(-1, 1, together(before, message));
    } else turns.push(message);
  }
  return turns;
}

function together(first: AssistantMessage, second: AssistantMessage): AssistantMessage {
  const thoughts = [first.reasoning, second.reasoning].filter((thought) => thought !== null);
  return {
    role: "assistant",
    content: first.content + second.content,
    reasoning: thoughts.length === 0 ? null : thoughts.join(BETWEEN_BLOCKS),
    tool_calls: [...first.tool_calls, ...second.tool_calls],
  };
}

function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}
