/** The messages of OpenAI's chats: their schema and what they mean. Knows no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { Message } from "../core/generation.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

const role = Type.Union(
  [
    Type.Literal("system"),
    Type.Literal("developer"),
    Type.Literal("user"),
    Type.Literal("assistant"),
    Type.Literal("tool"),
  ],
  { ...notYet("function"), description: "`developer` is the same as `system`." },
);

const textPart = strictObject(
  {
    type: Type.Literal("text", notYet("image_url", "input_audio", "file", "refusal")),
    text: Type.String(),
  },
  ["prompt_cache_breakpoint"],
);

const content = Type.Union([Type.String(), Type.Array(textPart, { minItems: 1, ...called("text parts") })]);

/** A model's own call, as it was given. */
const call = strictObject(
  {
    id: Type.String({ minLength: 1 }),
    type: Type.Literal("function", notYet("custom")),
    function: strictObject(
      { name: Type.String({ minLength: 1 }), arguments: Type.String({ description: "JSON, as the model wrote it." }) },
      [],
    ),
    index: Type.Optional(Type.Integer()), // some clients send back what they put together from a stream
  },
  ["custom"],
);

export const messageSchema = strictObject(
  {
    role,
    content: optional(content),
    refusal: optional(Type.String()),
    tool_calls: optional(Type.Array(call, { ...called("calls"), description: "What the assistant called." })),
    tool_call_id: optional(Type.String({ minLength: 1, description: "The call that this is the result of." })),
    reasoning_content: optional(Type.String({ description: "What the assistant thought." })),
  },
  ["name", "audio", "function_call"],
);

type WireMessage = Static<typeof messageSchema>;

export function messagesOf(messages: readonly WireMessage[]): readonly Message[] {
  return messages.map((message, index) => messageOf(message, `messages[${index}]`, messages.slice(0, index)));
}

/** Which fields only one role has. */
const OWN_FIELDS = {
  tool_calls: "assistant",
  reasoning_content: "assistant",
  refusal: "assistant",
  tool_call_id: "tool",
} as const;

function messageOf(message: WireMessage, place: string, before: readonly WireMessage[]): Message {
  const { role } = message;
  for (const [field, owner] of Object.entries(OWN_FIELDS)) {
    if (role !== owner && Reflect.get(message, field))
      throw wrong(`${place}.${field}`, `the role is "${role}", only "${owner}" has it`);
  }
  switch (role) {
    case "assistant":
      return assistantOf(message, place);
    case "tool":
      return { role, content: contentOf(message, place), tool_call_id: callOf(message, place, before) };
    default:
      return { role: role === "developer" ? "system" : role, content: contentOf(message, place) };
  }
}

function assistantOf(message: WireMessage, place: string): Message {
  const calls = (message.tool_calls ?? []).map(({ id, function: { name, arguments: text } }, index) => {
    refuseDamaged(text, `${place}.tool_calls[${index}].function.arguments`);
    return { id, name, arguments: text };
  });
  const silent = calls.length > 0 || Boolean(message.reasoning_content) || Boolean(message.refusal);
  const said = message.content ?? (silent ? "" : contentOf(message, place));
  // What a model refused with is what it said.
  const content = textOf(said) + (message.refusal ?? "");
  return { role: "assistant", content, reasoning: message.reasoning_content ?? null, tool_calls: calls };
}

/** A result of nothing that was called would mislead the model. */
function callOf({ tool_call_id }: WireMessage, place: string, before: readonly WireMessage[]): string {
  if (!tool_call_id) throw missing(`${place}.tool_call_id`, "the id of a call");
  const known = before.some(({ tool_calls }) => tool_calls?.some(({ id }) => id === tool_call_id));
  if (known) return tool_call_id;
  throw wrong(
    `${place}.tool_call_id`,
    `expected the id of a call in a message before, found ${JSON.stringify(tool_call_id)}`,
  );
}

/** An empty text is a call without arguments. */
export function refuseDamaged(text: string, parameter: string): void {
  try {
    if (text !== "") JSON.parse(text);
  } catch {
    throw wrong(parameter, "expected JSON, found something else");
  }
}

function contentOf({ content }: WireMessage, place: string): string {
  const expected = "a text or an array of text parts that is not empty";
  if (content === undefined) throw missing(`${place}.content`, expected);
  if (content === null) throw wrong(`${place}.content`, `expected ${expected}, found null`);
  return textOf(content);
}

/** The parts of one content are one text: nothing is put between them. */
function textOf(said: Static<typeof content>): string {
  return typeof said === "string" ? said : said.map((part) => part.text).join("");
}

function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}

function missing(parameter: string, expected: string): Failure {
  return new Failure(
    "invalid_request",
    `Cannot use the request: "${parameter}" is missing, expected ${expected}`,
    parameter,
  );
}
