/** The items of OpenAI's responses: how a caller writes them, and how they are listed. Knows no answer. */

import { type Static, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { imageDetail } from "./openai-messages.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

const status = Type.Union([Type.Literal("in_progress"), Type.Literal("completed"), Type.Literal("incomplete")]);
const marks = { id: optional(Type.String({ minLength: 1 })), status: optional(status) };

const inputText = strictObject({ type: Type.Literal("input_text"), text: Type.String() }, ["prompt_cache_breakpoint"]);
const outputText = strictObject(
  {
    type: Type.Literal("output_text"),
    text: Type.String(),
    // As they came with the answer that is sent back.
    annotations: optional(Type.Array(Type.Unknown())),
    logprobs: optional(Type.Array(Type.Unknown())),
  },
  [],
);
const refusal = strictObject({ type: Type.Literal("refusal"), refusal: Type.String() }, []);
const inputImage = strictObject(
  {
    type: Type.Literal("input_image"),
    image_url: Type.String({ minLength: 1, description: "An address, or the image itself as a data URL." }),
    detail: optional(imageDetail),
  },
  ["file_id", "prompt_cache_breakpoint"],
);
const inputFile = strictObject(
  {
    type: Type.Literal("input_file"),
    filename: optional(Type.String({ description: "Told to the model with what the file says." })),
    file_data: Type.String({ description: "A file of text, as a data URL in base64." }),
  },
  ["detail", "file_id", "file_url", "prompt_cache_breakpoint"],
);
const part = Type.Union([inputText, inputImage, inputFile, outputText, refusal], notYet("input_audio"));

const message = strictObject(
  {
    type: Type.Optional(Type.Literal("message")),
    ...marks,
    role: Type.Union(
      [Type.Literal("user"), Type.Literal("assistant"), Type.Literal("system"), Type.Literal("developer")],
      { description: "`developer` is the same as `system`." },
    ),
    content: Type.Union([Type.String(), Type.Array(part, called("parts"))]),
  },
  ["phase"],
);

const functionCall = strictObject(
  {
    type: Type.Literal("function_call"),
    ...marks,
    call_id: Type.String({ minLength: 1 }),
    name: Type.String({ minLength: 1 }),
    namespace: optional(Type.String({ minLength: 1, description: "Of the tool." })),
    arguments: Type.String({ description: "JSON, as the model wrote it." }),
  },
  ["caller"],
);

const outcome = {
  ...marks,
  call_id: Type.String({ minLength: 1, description: "The call that this is the result of." }),
  output: Type.Union([Type.String(), Type.Array(Type.Union([inputText, inputImage, inputFile]), called("parts"))]),
};

const functionCallOutput = strictObject({ type: Type.Literal("function_call_output"), ...outcome }, [
  "caller",
  "name",
  "namespace",
]);

const customToolCall = strictObject(
  {
    type: Type.Literal("custom_tool_call"),
    ...marks,
    call_id: Type.String({ minLength: 1 }),
    name: Type.String({ minLength: 1 }),
    input: Type.String({ description: "As the model wrote it." }),
  },
  ["caller", "namespace"],
);

const customToolCallOutput = strictObject({ type: Type.Literal("custom_tool_call_output"), ...outcome }, [
  "caller",
  "name",
  "namespace",
]);

const reasoning = strictObject(
  {
    type: Type.Literal("reasoning"),
    ...marks,
    summary: Type.Array(strictObject({ type: Type.Literal("summary_text"), text: Type.String() }, [])),
    content: optional(Type.Array(strictObject({ type: Type.Literal("reasoning_text"), text: Type.String() }, []))),
    encrypted_content: optional(Type.String()),
  },
  [],
);

const compaction = strictObject(
  {
    type: Type.Literal("compaction"),
    ...marks,
    encrypted_content: Type.String({ description: "As it was given here." }),
  },
  ["created_by"],
);

const itemReference = strictObject({ type: Type.Literal("item_reference"), id: Type.String({ minLength: 1 }) }, []);

/** Of tools that run at OpenAI. */
const FOREIGN_ITEMS = [
  "apply_patch_call",
  "apply_patch_call_output",
  "code_interpreter_call",
  "computer_call",
  "computer_call_output",
  "file_search_call",
  "image_generation_call",
  "local_shell_call",
  "local_shell_call_output",
  "mcp_approval_request",
  "mcp_approval_response",
  "mcp_call",
  "mcp_list_tools",
  "shell_call",
  "shell_call_output",
  "web_search_call",
];

const kept = [
  message,
  functionCall,
  functionCallOutput,
  customToolCall,
  customToolCallOutput,
  reasoning,
  compaction,
] as const;

export const inputSchema = Type.Union(
  [
    Type.String(),
    Type.Array(Type.Union([...kept, itemReference], notYet(...FOREIGN_ITEMS)), {
      ...called("items"),
      description: "What was said, called and answered; also items of earlier answers, whole or by reference.",
    }),
  ],
  { description: "A text of the user, or items." },
);

const itemSchema = Type.Union([...kept]);

/** An item that says all of itself. */
export type Item = Static<typeof itemSchema>;
export type WireMessage = Static<typeof message>;
export type WireReasoning = Static<typeof reasoning>;
export type Part = Static<typeof part>;
export type FilePart = Static<typeof inputFile>;

const keptItems = TypeCompiler.Compile(Type.Array(itemSchema));

/** What was stored as items is items. */
export function itemsOf(stored: readonly object[]): readonly Item[] {
  const items: unknown = stored;
  assert(keptItems.Check(items), "kept items have the form in which they were kept");
  return items;
}

/** Items in full, each with an id of its own: `prefix` makes them differ from those of other requests. */
export function listed(
  input: Static<typeof inputSchema>,
  prefix: string,
  find: (id: string) => Item | null,
): readonly Item[] {
  const items = typeof input === "string" ? [{ role: "user" as const, content: input }] : input;
  return items.map((item, index) => {
    if (item.type !== "item_reference") return inFull(item, `${prefix}${index}`);
    const found = find(item.id);
    if (found !== null) return found;
    const place = `input[${index}].id`;
    throw new Failure("not_found", `Cannot use "${place}": no item ${JSON.stringify(item.id)} is kept here`, place);
  });
}

const PREFIXES = {
  message: "msg",
  function_call: "fc",
  function_call_output: "fco",
  custom_tool_call: "ctc",
  custom_tool_call_output: "ctco",
  reasoning: "rs",
  compaction: "cmp",
} as const;

function inFull(item: Item, own: string): Item {
  const type = item.type ?? "message";
  const marked = { id: item.id ?? `${PREFIXES[type]}_${own}`, status: item.status ?? "completed" } as const;
  const told = { ...item, ...marked };
  return isMessage(told) ? { ...told, type: "message", content: partsOf(told) } : told;
}

export function isSaidBy(item: Item, role: WireMessage["role"]): boolean {
  return isMessage(item) && item.role === role;
}

/** Its type may be left out. */
function isMessage(item: Item): item is WireMessage {
  return item.type === "message" || item.type === undefined;
}

function partsOf({ role, content }: WireMessage): Part[] {
  const parts: Part[] = typeof content === "string" ? [{ type: "input_text", text: content }] : content;
  return parts.map((part) => {
    if (part.type === "input_image") return { ...part, detail: part.detail ?? "auto" };
    if (part.type === "refusal" || part.type === "input_file") return part;
    const { text } = part;
    return role === "assistant"
      ? { annotations: [], logprobs: [], ...part, type: "output_text", text }
      : { type: "input_text", text };
  });
}
