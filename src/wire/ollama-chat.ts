/** Ollama's `POST /api/chat`: its request and answer. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { Message, ToolCall, ToolDefinition } from "../core/generation.ts";
import { untagged } from "../core/model-names.ts";
import { answerProperties, callBody, type Said } from "./ollama-answer.ts";
import { imagesOf, ollamaImages } from "./ollama-images.ts";
import { EXAMPLE_MODEL, type OllamaAsked, ollamaShared, ollamaWishes, refuseUnlessEmpty } from "./ollama-parameters.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

const anyObject = Type.Record(Type.String(), Type.Unknown());

const toolCall = strictObject(
  {
    id: optional(Type.String()),
    type: optional(Type.Literal("function")),
    function: strictObject(
      { name: Type.String({ minLength: 1 }), arguments: optional(anyObject), index: optional(Type.Integer()) },
      ["description"],
    ),
  },
  [],
);

const message = strictObject(
  {
    role: Type.Union((["system", "user", "assistant", "tool"] as const).map((role) => Type.Literal(role))),
    content: optional(Type.String()),
    thinking: optional(Type.String({ description: "What the model thought before it answered." })),
    images: ollamaImages,
    tool_calls: optional(Type.Array(toolCall)),
    tool_name: optional(Type.String({ description: "Whose result it is." })),
    tool_call_id: optional(Type.String()),
    name: optional(Type.String({ description: "The same as `tool_name`, of older clients." })),
  },
  [],
);

const tool = strictObject(
  {
    type: Type.Literal("function"),
    function: strictObject(
      { name: Type.String({ minLength: 1 }), description: optional(Type.String()), parameters: optional(anyObject) },
      [],
    ),
  },
  ["items"],
);

export const ollamaChatSchema = strictObject(
  {
    messages: optional(
      Type.Array(message, { description: "None loads the model, or unloads it.", ...called("messages") }),
    ),
    tools: optional(Type.Array(tool, called("tools"))),
    ...ollamaShared,
  },
  ["dimensions"],
  { examples: [{ model: EXAMPLE_MODEL, messages: [{ role: "user", content: "What is the capital of France?" }] }] },
);

type ChatRequest = Static<typeof ollamaChatSchema>;
type ChatMessage = NonNullable<ChatRequest["messages"]>[number];

export function readOllamaChat(body: ChatRequest, request_id: string): OllamaAsked {
  const prompt = { kind: "messages", messages: messagesOf(body.messages ?? []) } as const;
  const wishes = { ...ollamaWishes(body), tools: (body.tools ?? []).map(toolOf) };
  return {
    generation: { request_id, model: untagged(body.model), prompt, ...wishes },
    stream: body.stream ?? true,
  };
}

function toolOf({
  function: { name, description, parameters },
}: NonNullable<ChatRequest["tools"]>[number]): ToolDefinition {
  return { name, description: description ?? null, parameters: parameters ?? { type: "object" }, strict: false };
}

/**
 * Ollama's calls need no id: a result without one is of the oldest open call, of its name where it has one. There may be
 * none: LiteLLM leaves the calls out.
 */
function messagesOf(messages: readonly ChatMessage[]): Message[] {
  const open: ToolCall[] = [];
  let count = 0;
  return messages.map((message, index) => {
    const content = message.content ?? "";
    if (message.role === "tool") {
      return { role: "tool", content, tool_call_id: answered(open, message, index) ?? `call_${count++}` };
    }
    if (message.role === "user")
      return { role: "user", content, ...imagesOf(message.images, `messages[${index}].images`) };
    refuseUnlessEmpty(`messages[${index}].images`, message.images, "only a user has images");
    if (message.role === "system") return { role: "system", content };
    const tool_calls = (message.tool_calls ?? []).map((call) => {
      const { name, arguments: given } = call.function;
      return { id: call.id || `call_${count++}`, name, arguments: JSON.stringify(given ?? {}) };
    });
    open.push(...tool_calls);
    return { role: "assistant", content, reasoning: message.thinking || null, tool_calls };
  });
}

function answered(open: ToolCall[], { tool_call_id, tool_name, name }: ChatMessage, index: number): string | null {
  const place = open.findIndex((call) => {
    const wanted = tool_name || name;
    return tool_call_id ? call.id === tool_call_id : !wanted || call.name === wanted;
  });
  const [call] = place < 0 ? [] : open.splice(place, 1);
  if (call !== undefined || !tool_call_id) return call?.id ?? null;
  const state = `no call "${tool_call_id}" before it waits for a result`;
  throw new Failure("invalid_request", `Cannot use "messages[${index}]": ${state}`, `messages[${index}]`);
}

/** A writer's `fields`, for one answer: calls are counted. */
export function chatFields() {
  let count = 0;
  return ({ content, thinking, tool_calls }: Said) => ({
    message: {
      role: "assistant",
      content,
      ...(thinking === "" ? {} : { thinking }),
      ...(tool_calls.length === 0 ? {} : { tool_calls: tool_calls.map((call) => callBody(call, count++)) }),
    },
  });
}

export const ollamaChatBodySchema = Type.Object({
  ...answerProperties,
  message: Type.Object({
    role: Type.Literal("assistant"),
    content: Type.String(),
    thinking: Type.Optional(Type.String()),
    tool_calls: Type.Optional(
      Type.Array(
        Type.Object({
          id: Type.String(),
          function: Type.Object({ index: Type.Integer(), name: Type.String(), arguments: anyObject }),
        }),
      ),
    ),
  }),
});
