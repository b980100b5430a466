/** Anthropic's messages: the turns of a talk, and the messages that they are. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { AssistantMessage, Message } from "../core/generation.ts";
import {
  BETWEEN_BLOCKS,
  cacheControl,
  documentBlock,
  imageBlock,
  joinedSights,
  type Seen,
  searchResultBlock,
  seenIn,
  textBlock,
} from "./anthropic-blocks.ts";
import { thoughtIn } from "./anthropic-signature.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

/** What Anthropic's own servers have run, or moved. */
const SERVED = [
  "server_tool_use",
  "web_search_tool_result",
  "web_fetch_tool_result",
  "advisor_tool_result",
  "code_execution_tool_result",
  "bash_code_execution_tool_result",
  "text_editor_code_execution_tool_result",
  "tool_search_tool_result",
  "mcp_tool_use",
  "mcp_tool_result",
  "mcp_tool_listing",
  "container_upload",
  "compaction",
  "tool_addition",
  "tool_removal",
  "fallback",
] as const;

export const texts = Type.Union([Type.String(), Type.Array(textBlock, called("text blocks"))]);

const resultPart = Type.Union(
  [textBlock, imageBlock, documentBlock, searchResultBlock],
  notYet("tool_reference", "browser_state"),
);

const toolResult = strictObject(
  {
    type: Type.Literal("tool_result"),
    tool_use_id: Type.String({ minLength: 1 }),
    content: optional(Type.Union([Type.String(), Type.Array(resultPart, called("blocks"))])),
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
      Type.Array(
        Type.Union([textBlock, imageBlock, documentBlock, searchResultBlock, toolResult], notYet(...SERVED)),
        called("blocks"),
      ),
    ]),
  },
  [],
);

const thinkingBlock = strictObject(
  { type: Type.Literal("thinking"), thinking: Type.String(), signature: optional(Type.String()) },
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
      Type.Array(Type.Union([textBlock, thinkingBlock, redactedBlock, toolUse], notYet(...SERVED)), called("blocks")),
    ]),
  },
  [],
);

const systemMessage = strictObject({ role: Type.Literal("system"), content: texts }, []);

export const turns = Type.Array(Type.Union([userMessage, assistantMessage, systemMessage]), {
  minItems: 1,
  ...called("messages"),
});

type Turn = Static<typeof turns>[number];

export function messagesOf(system: Static<typeof texts> | null | undefined, messages: readonly Turn[]): Message[] {
  const told = textOf(system ?? "");
  const first: Message[] = told === "" ? [] : [{ role: "system", content: told }];
  const rest = messages.flatMap((message, index) => turnOf(message, `messages[${index}]`));
  refuseStrayResults(rest);
  return joined([...first, ...rest]);
}

function textOf(content: Static<typeof texts>): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join(BETWEEN_BLOCKS);
}

function turnOf(message: Turn, place: string): Message[] {
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
  const said = content.filter((block) => block.type !== "tool_result");
  const results = content.filter((block) => block.type === "tool_result");
  const late = content.findLastIndex((block) => block.type === "tool_result");
  if (late >= results.length) throw wrong(`${place}.content[${late}]`, "results of tools go before text");
  const told = results.map((block) => {
    return { role: "tool", ...resultOf(block), tool_call_id: block.tool_use_id } as const;
  });
  return said.length === 0 && results.length > 0 ? told : [...told, { role: "user", ...seenIn(said) }];
}

function resultOf({ content, is_error }: Static<typeof toolResult>): Seen {
  const seen = typeof content === "string" ? { content } : seenIn(content ?? []);
  return is_error === true ? joinedSights([{ content: "Error: " }, seen], "") : seen;
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
  return thinking === "" ? thoughtIn(signature ?? "") : thinking;
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
      turns.splice(-1, 1, { role: "user", ...joinedSights([before, message]) });
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

export function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}
