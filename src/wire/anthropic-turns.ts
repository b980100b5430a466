/** Anthropic's messages: the turns of a talk, and the messages that they are. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { AssistantMessage, Message, PlacedImage, UserMessage } from "../core/generation.ts";
import { thoughtIn } from "./anthropic-signature.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

/** What is computed once is kept, marked or not; a mark changes nothing, so it is never wrong. */
export const cacheControl = optional(
  strictObject(
    {
      type: Type.Literal("ephemeral"),
      ttl: optional(Type.Union([Type.Literal("5m"), Type.Literal("1h")])),
      scope: optional(Type.Literal("global", { description: "Whoever asks finds what was kept." })),
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

const imageBlock = strictObject(
  {
    type: Type.Literal("image"),
    source: Type.Union(
      [
        strictObject(
          {
            type: Type.Literal("base64"),
            media_type: Type.Union(
              (["image/jpeg", "image/png", "image/gif", "image/webp"] as const).map((type) => Type.Literal(type)),
            ),
            data: Type.String({ minLength: 1 }),
          },
          [],
        ),
        strictObject({ type: Type.Literal("url"), url: Type.String({ minLength: 1 }) }, []),
      ],
      notYet("file"),
    ),
    cache_control: cacheControl,
  },
  [],
);

const SIGHTS = ["document", "search_result"] as const;
const SERVER_TOOLS = [
  "server_tool_use",
  "web_search_tool_result",
  "web_fetch_tool_result",
  "container_upload",
] as const;

export const texts = Type.Union([Type.String(), Type.Array(textBlock, called("text blocks"))]);

const resultPart = strictObject(
  {
    type: Type.Literal("text", notYet("image", ...SIGHTS, "tool_reference", "browser_state")),
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
    content: optional(Type.Union([Type.String(), Type.Array(resultPart, called("text blocks"))])),
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
      Type.Array(Type.Union([textBlock, imageBlock, toolResult], notYet(...SIGHTS, ...SERVER_TOOLS)), called("blocks")),
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
      Type.Array(
        Type.Union([textBlock, thinkingBlock, redactedBlock, toolUse], notYet(...SERVER_TOOLS)),
        called("blocks"),
      ),
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

/** Blocks of a caller stand for themselves, so a model must see where one ends. */
const BETWEEN_BLOCKS = "\n\n";

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
    return { role: "tool", content: resultOf(block), tool_call_id: block.tool_use_id } as const;
  });
  return said.length === 0 && results.length > 0 ? told : [...told, saidIn(said)];
}

function saidIn(blocks: readonly (Static<typeof textBlock> | Static<typeof imageBlock>)[]): UserMessage {
  const images: PlacedImage[] = [];
  const said: string[] = [];
  for (const block of blocks) {
    if (block.type === "text") said.push(block.text);
    else images.push({ at: said.join(BETWEEN_BLOCKS).length, source: sourceOf(block.source) });
  }
  const content = said.join(BETWEEN_BLOCKS);
  return images.length === 0 ? { role: "user", content } : { role: "user", content, images };
}

function sourceOf(source: Static<typeof imageBlock>["source"]): PlacedImage["source"] {
  if (source.type === "url") return { kind: "url", url: source.url };
  return { kind: "data", media_type: source.media_type, base64: source.data };
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
      turns.splice(-1, 1, asOne(before, message));
    } else if (message.role === "assistant" && before?.role === "assistant") {
      turns.splice(-1, 1, together(before, message));
    } else turns.push(message);
  }
  return turns;
}

function asOne(first: UserMessage, second: UserMessage): UserMessage {
  const content = first.content + BETWEEN_BLOCKS + second.content;
  const moved = (second.images ?? []).map((image) => ({
    ...image,
    at: image.at + content.length - second.content.length,
  }));
  const images = [...(first.images ?? []), ...moved];
  return images.length === 0 ? { role: "user", content } : { role: "user", content, images };
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
