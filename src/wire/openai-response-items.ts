/** The items of OpenAI's responses: how a caller writes them, how they are listed, and which talk they are. Knows no answer. */

import { type Static, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { AssistantMessage, Message, ToolCall } from "../core/generation.ts";
import { thoughtIn } from "./anthropic-signature.ts";
import { flatName } from "./openai-response-tools.ts";
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
const part = Type.Union([inputText, outputText, refusal], notYet("input_image", "input_file", "input_audio"));

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

const functionCallOutput = strictObject(
  {
    type: Type.Literal("function_call_output"),
    ...marks,
    call_id: Type.String({ minLength: 1, description: "The call that this is the result of." }),
    output: Type.Union([
      Type.String(),
      Type.Array(Type.Union([inputText], notYet("input_image", "input_file")), called("parts")),
    ]),
  },
  ["caller", "name", "namespace"],
);

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

const itemReference = strictObject({ type: Type.Literal("item_reference"), id: Type.String({ minLength: 1 }) }, []);

/** Of tools that run at OpenAI. */
const FOREIGN_ITEMS = [
  "apply_patch_call",
  "apply_patch_call_output",
  "code_interpreter_call",
  "compaction",
  "computer_call",
  "computer_call_output",
  "custom_tool_call",
  "custom_tool_call_output",
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

const kept = [message, functionCall, functionCallOutput, reasoning] as const;

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
type WireMessage = Static<typeof message>;
type Part = Static<typeof part>;

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

function inFull(item: Item, own: string): Item {
  const state = item.status ?? "completed";
  switch (item.type) {
    case "function_call":
      return { ...item, id: item.id ?? `fc_${own}`, status: state };
    case "function_call_output":
      return { ...item, id: item.id ?? `fco_${own}`, status: state };
    case "reasoning":
      return { ...item, id: item.id ?? `rs_${own}`, status: state };
    default:
      return { ...item, type: "message", id: item.id ?? `msg_${own}`, status: state, content: partsOf(item) };
  }
}

function partsOf({ role, content }: WireMessage): Part[] {
  const parts: Part[] = typeof content === "string" ? [{ type: "input_text", text: content }] : content;
  return parts.map((part) => {
    if (part.type === "refusal") return part;
    const { text } = part;
    return role === "assistant"
      ? { annotations: [], logprobs: [], ...part, type: "output_text", text }
      : { type: "input_text", text };
  });
}

/** `placeOf` an item in the request, for whoever wrote it; null: it was kept here, and needs no second look. */
export function talkOf(
  instructions: string,
  items: readonly Item[],
  placeOf: (index: number) => string | null,
): readonly Message[] {
  const talk = new Talk();
  if (instructions !== "") talk.say("system", instructions);
  for (const [index, item] of items.entries()) {
    const place = placeOf(index);
    switch (item.type) {
      case "function_call":
        // A call that was cut says less than the model meant.
        if (item.status === "incomplete") break;
        talk.call({ id: item.call_id, name: flatName(item.namespace, item.name), arguments: item.arguments });
        break;
      case "function_call_output":
        talk.result(item.call_id, textOf(item.output), place);
        break;
      case "reasoning":
        talk.think(thoughtOf(item));
        break;
      default:
        talk.say(item.role, textOf(item.content));
    }
  }
  return talk.whole();
}

interface Turn {
  readonly thoughts: string[];
  readonly texts: string[];
  readonly calls: ToolCall[];
}

/** Items stand for themselves, so a model must see where one ends. */
const BETWEEN_ITEMS = "\n\n";

/** What one side says without a word of another between is one turn: many templates know no other talk. */
class Talk {
  readonly #messages: Message[] = [];
  readonly #called = new Set<string>();
  #turn: Turn | null = null;

  think(thought: string): void {
    this.#open().thoughts.push(thought);
  }

  say(said: WireMessage["role"], content: string): void {
    if (said === "assistant") {
      this.#open().texts.push(content);
      return;
    }
    this.#close();
    const role = said === "user" ? "user" : "system";
    const before = this.#messages.at(-1);
    if (before?.role !== role) this.#messages.push({ role, content });
    else this.#messages.splice(-1, 1, { role, content: before.content + BETWEEN_ITEMS + content });
  }

  call(call: ToolCall): void {
    this.#called.add(call.id);
    this.#open().calls.push(call);
  }

  result(call_id: string, content: string, place: string | null): void {
    this.#close();
    if (!this.#called.has(call_id)) {
      const state = `expected the id of a call before, found ${JSON.stringify(call_id)}`;
      throw new Failure("invalid_request", `Cannot use "${place}.call_id": ${state}`, `${place}.call_id`);
    }
    this.#messages.push({ role: "tool", content, tool_call_id: call_id });
  }

  whole(): readonly Message[] {
    this.#close();
    return this.#messages;
  }

  #open(): Turn {
    this.#turn ??= { thoughts: [], texts: [], calls: [] };
    return this.#turn;
  }

  #close(): void {
    if (this.#turn === null) return;
    const { thoughts, texts, calls } = this.#turn;
    const thought = thoughts.filter((text) => text !== "").join(BETWEEN_ITEMS);
    const turn: AssistantMessage = {
      role: "assistant",
      content: texts.join(BETWEEN_ITEMS),
      reasoning: thought === "" ? null : thought,
      tool_calls: calls,
    };
    // A thought of somebody else's that cannot be read leaves nothing.
    if (texts.length > 0 || thought !== "" || calls.length > 0) this.#messages.push(turn);
    this.#turn = null;
  }
}

/** The parts of one content are one text: nothing is put between them. */
function textOf(content: string | readonly Part[]): string {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "refusal" ? part.refusal : part.text)).join("");
}

function thoughtOf({ content, summary, encrypted_content }: Static<typeof reasoning>): string {
  const told = (content ?? []).map(({ text }) => text).join("");
  if (told !== "") return told;
  const hidden = thoughtIn(encrypted_content ?? "");
  return hidden === "" ? summary.map(({ text }) => text).join("\n\n") : hidden;
}
