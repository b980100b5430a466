/** The messages of OpenAI's chats: their schema and what they mean. Knows no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { AssistantMessage, Message, PlacedImage, UserMessage } from "../core/generation.ts";
import { cacheControl } from "./anthropic-blocks.ts";
import { customArguments } from "./openai-custom-input.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

const role = Type.Union(
  [
    Type.Literal("system"),
    Type.Literal("developer"),
    Type.Literal("user"),
    Type.Literal("assistant"),
    Type.Literal("tool"),
    Type.Literal("function"),
  ],
  { description: "`developer` is the same as `system`; `function` is the result of a `function_call`." },
);

const textPart = strictObject(
  {
    type: Type.Literal("text"),
    text: Type.String(),
    cache_control: cacheControl, // as OpenRouter and LiteLLM pass on Anthropic's
  },
  ["prompt_cache_breakpoint"],
);

export const imageDetail = Type.Union([Type.Literal("auto"), Type.Literal("low"), Type.Literal("high")], {
  description: "For a provider that a request goes on to.",
});

const imagePart = strictObject(
  {
    type: Type.Literal("image_url"),
    image_url: strictObject(
      {
        url: Type.String({ minLength: 1, description: "An address, or the image itself as a data URL." }),
        detail: optional(imageDetail),
      },
      [],
    ),
    cache_control: cacheControl,
  },
  ["prompt_cache_breakpoint"],
);

const refusalPart = strictObject({ type: Type.Literal("refusal"), refusal: Type.String() }, []);

const content = Type.Union([
  Type.String(),
  Type.Array(Type.Union([textPart, imagePart, refusalPart], notYet("input_audio", "file")), called("parts")),
]);

const calledFunction = strictObject(
  { name: Type.String({ minLength: 1 }), arguments: Type.String({ description: "JSON, as the model wrote it." }) },
  [],
);

const callPlace = {
  id: Type.String({ minLength: 1 }),
  index: Type.Optional(Type.Integer()), // some clients send back what they put together from a stream
};

/** A model's own call, as it was given. */
const call = Type.Union([
  strictObject({ ...callPlace, type: Type.Literal("function"), function: calledFunction }, []),
  strictObject(
    {
      ...callPlace,
      type: Type.Literal("custom"),
      custom: strictObject({ name: Type.String({ minLength: 1 }), input: Type.String() }, []),
    },
    [],
  ),
]);

export const messageSchema = strictObject(
  {
    role,
    content: optional(content),
    refusal: optional(Type.String()),
    tool_calls: optional(Type.Array(call, { ...called("calls"), description: "What the assistant called." })),
    function_call: optional(calledFunction),
    tool_call_id: optional(Type.String({ minLength: 1, description: "The call that this is the result of." })),
    reasoning_content: optional(Type.String({ description: "What the assistant thought." })),
    name: optional(Type.String({ description: "Who speaks, for chat templates that have a place for it." })),
    cache_control: cacheControl,
    prefix: optional(
      Type.Boolean({
        description: "Of the last message: the answer goes on with its text, as at Mistral and DeepSeek.",
      }),
    ),
    annotations: optional(Type.Array(Type.Unknown(), { description: "As they came with the answer sent back." })),
  },
  ["audio"],
);

type Content = Static<typeof content>;
type Part = Exclude<Content, string>[number];
type WireMessage = Static<typeof messageSchema>;

export function messagesOf(messages: readonly WireMessage[]): readonly Message[] {
  const told = messages.map((message, index) => withTools(message, index, messages));
  return told.map((message, index) => messageOf(message, `messages[${index}]`, told.slice(0, index)));
}

/** A message as it is since there are tools: a function's call has an id, and its result says which call it is of. */
function withTools(message: WireMessage, index: number, messages: readonly WireMessage[]): WireMessage {
  const { role, name, function_call } = message;
  const place = `messages[${index}]`;
  if (role === "assistant" && function_call) {
    if (message.tool_calls?.length) throw wrong(`${place}.function_call`, '"tool_calls" says what was called');
    return { ...message, tool_calls: [{ id: soleCallId(index), type: "function", function: function_call }] };
  }
  if (role !== "function") return message;
  const at = messages.findLastIndex((earlier, before) => before < index && earlier.function_call?.name === name);
  if (!name) throw missing(`${place}.name`, "the name of the function");
  if (at < 0) throw wrong(`${place}.name`, `no message before calls ${JSON.stringify(name)}`);
  return { ...message, role: "tool", tool_call_id: soleCallId(at) };
}

/** Nine characters: some templates take ids of no other length. */
function soleCallId(index: number): string {
  return `f${String(index).padStart(8, "0")}`;
}

/** Which fields only one role has. */
const OWN_FIELDS = {
  tool_calls: "assistant",
  function_call: "assistant",
  reasoning_content: "assistant",
  refusal: "assistant",
  annotations: "assistant",
  prefix: "assistant",
  tool_call_id: "tool",
} as const;

function messageOf(message: WireMessage, place: string, before: readonly WireMessage[]): Message {
  const { role } = message;
  for (const [field, owner] of Object.entries(OWN_FIELDS)) {
    if (role !== owner && Reflect.get(message, field))
      throw wrong(`${place}.${field}`, `the role is "${role}", only "${owner}" has it`);
  }
  const speaker = message.name ? { name: message.name } : {};
  switch (role) {
    case "assistant":
      return { ...assistantOf(message, place), ...speaker };
    case "tool": // its name is that of the call
      return { role, content: contentOf(message, place), tool_call_id: callOf(message, place, before) };
    case "user":
      return { ...userOf(message, place), ...speaker };
    default:
      return { role: "system", content: contentOf(message, place), ...speaker };
  }
}

function userOf(message: WireMessage, place: string): UserMessage {
  const said = saidIn(message, place);
  const images: PlacedImage[] = [];
  let content = "";
  for (const [index, part] of typeof said === "string" ? [] : said.entries()) {
    const at = `${place}.content[${index}]`;
    if (part.type === "image_url")
      images.push({ at: content.length, ...shownIn(part.image_url, `${at}.image_url.url`) });
    else content += wordsOf(part, message.role, at);
  }
  if (typeof said === "string") return { role: "user", content: said };
  return images.length === 0 ? { role: "user", content } : { role: "user", content, images };
}

interface ShownImage {
  readonly url: string;
  readonly detail?: Static<typeof imageDetail> | null;
}

/** `place`: where the URL stands. */
export function shownIn({ url, detail }: ShownImage, place: string): Omit<PlacedImage, "at"> {
  return { source: sourceOf(url, place), ...(detail === "low" || detail === "high" ? { detail } : {}) };
}

function sourceOf(url: string, place: string): PlacedImage["source"] {
  const [, media_type, base64] = /^data:(image\/[\w.+-]+);base64,(.*)$/s.exec(url) ?? [];
  if (media_type !== undefined && base64 !== undefined) return { kind: "data", media_type, base64 };
  if (/^https?:\/\//i.test(url)) return { kind: "url", url };
  const found = JSON.stringify(url.slice(0, SHOWN_MAX));
  throw wrong(place, `expected an address or a data URL of an image in base64, found ${found}`);
}

const SHOWN_MAX = 40;

function assistantOf(message: WireMessage, place: string): AssistantMessage {
  const calls = (message.tool_calls ?? []).map((call) => {
    const { name } = call.type === "custom" ? call.custom : call.function;
    const json = call.type === "custom" ? customArguments(call.custom.input) : call.function.arguments;
    return { id: call.id, name, arguments: json };
  });
  const silent = calls.length > 0 || Boolean(message.reasoning_content) || Boolean(message.refusal);
  // What a model refused with is what it said.
  const content = (silent && !message.content ? "" : contentOf(message, place)) + (message.refusal ?? "");
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

/** The parts of one content are one text: nothing is put between them. Only users show images. */
function contentOf(message: WireMessage, place: string): string {
  const said = saidIn(message, place);
  if (typeof said === "string") return said;
  return said.map((part, index) => wordsOf(part, message.role, `${place}.content[${index}]`)).join("");
}

function wordsOf(part: Part, role: WireMessage["role"], place: string): string {
  if (part.type === "text") return part.text;
  if (part.type === "image_url") throw wrong(place, `the role is "${role}", only "user" has images`);
  if (role !== "assistant") throw wrong(place, `the role is "${role}", only "assistant" refuses`);
  return part.refusal;
}

/** An answer or a result that says nothing is sent as null by some. */
function saidIn({ content, role }: WireMessage, place: string): Content {
  const expected = "a text or an array of parts";
  if (content === undefined) throw missing(`${place}.content`, expected);
  if (content === null && (role === "assistant" || role === "tool")) return "";
  if (content === null) throw wrong(`${place}.content`, `expected ${expected}, found null`);
  return content;
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
