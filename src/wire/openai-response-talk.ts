/** The talk that items of OpenAI's responses are. Knows no answer. */

import { Failure } from "../core/failure.ts";
import type { AssistantMessage, Message, PlacedImage, ToolCall, UserMessage } from "../core/generation.ts";
import { thoughtIn } from "./anthropic-signature.ts";
import { customArguments } from "./openai-custom-input.ts";
import { shownIn } from "./openai-messages.ts";
import type { FilePart, Item, Part, WireMessage, WireReasoning } from "./openai-response-items.ts";
import { flatName } from "./openai-response-tools.ts";

/** `placeOf` an item in the request, for whoever wrote it; null: it was kept here, and needs no second look. */
export function talkOf(
  instructions: string,
  items: readonly Item[],
  placeOf: (index: number) => string | null,
): readonly Message[] {
  const talk = new Talk();
  if (instructions !== "") talk.say("system", { content: instructions, images: [] }, null);
  for (const [index, item] of items.entries()) {
    const place = placeOf(index);
    switch (item.type) {
      case "function_call":
        // A call that was cut says less than the model meant.
        if (item.status === "incomplete") break;
        talk.call({ id: item.call_id, name: flatName(item.namespace, item.name), arguments: item.arguments });
        break;
      case "custom_tool_call":
        if (item.status === "incomplete") break;
        talk.call({ id: item.call_id, name: item.name, arguments: customArguments(item.input) });
        break;
      case "function_call_output":
      case "custom_tool_call_output":
        talk.result(item.call_id, saidIn(item.output, `${place}.output`), place);
        break;
      case "reasoning":
        talk.think(thoughtOf(item));
        break;
      case "compaction":
        talk.say("user", { content: summaryIn(item.encrypted_content, place), images: [] }, place);
        break;
      default:
        talk.say(item.role, saidIn(item.content, `${place}.content`), place);
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
  /** By results of calls. */
  readonly #shown: PlacedImage[] = [];
  #turn: Turn | null = null;

  think(thought: string): void {
    this.#open().thoughts.push(thought);
  }

  say(said: WireMessage["role"], { content, images }: Said, place: string | null): void {
    if (said !== "user" && images.length > 0) {
      throw new Failure("unsupported", `Cannot use "${place}.content": only a user shows images`, `${place}.content`);
    }
    if (said === "assistant") {
      this.#open().texts.push(content);
      return;
    }
    this.#close();
    this.#show();
    const before = this.#messages.at(-1);
    if (said === "user") this.#ask({ content, images });
    else if (before?.role !== "system") this.#messages.push({ role: "system", content });
    else this.#messages.splice(-1, 1, { role: "system", content: before.content + BETWEEN_ITEMS + content });
  }

  #ask({ content, images }: Said): void {
    const before = this.#messages.at(-1);
    const is_first = before?.role !== "user";
    const words = is_first ? "" : before.content + BETWEEN_ITEMS;
    const moved = images.map((image) => ({ ...image, at: image.at + words.length }));
    const shown = [...(is_first ? [] : (before.images ?? [])), ...moved];
    const asked: UserMessage = { role: "user", content: words + content };
    this.#messages.splice(
      is_first ? this.#messages.length : -1,
      1,
      shown.length === 0 ? asked : { ...asked, images: shown },
    );
  }

  call(call: ToolCall): void {
    this.#called.add(call.id);
    this.#open().calls.push(call);
  }

  result(call_id: string, { content, images }: Said, place: string | null): void {
    this.#close();
    if (!this.#called.has(call_id)) {
      const state = `expected the id of a call before, found ${JSON.stringify(call_id)}`;
      throw new Failure("invalid_request", `Cannot use "${place}.call_id": ${state}`, `${place}.call_id`);
    }
    this.#messages.push({ role: "tool", content, tool_call_id: call_id });
    this.#shown.push(...images.map((image) => ({ ...image, at: 0 })));
  }

  whole(): readonly Message[] {
    this.#close();
    this.#show();
    return this.#messages;
  }

  /** Only users show images, and nothing may stand between results of calls. */
  #show(): void {
    const images = this.#shown.splice(0);
    if (images.length > 0) this.#ask({ content: "", images });
  }

  #open(): Turn {
    this.#show();
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

interface Said {
  readonly content: string;
  readonly images: readonly PlacedImage[];
}

/** The parts of one content are one text: nothing is put between them. */
function saidIn(content: string | readonly Part[], place: string): Said {
  if (typeof content === "string") return { content, images: [] };
  const images: PlacedImage[] = [];
  let words = "";
  for (const [index, part] of content.entries()) {
    const at = `${place}[${index}]`;
    if (part.type === "input_image") {
      const { image_url: url, detail = null } = part;
      images.push({ at: words.length, ...shownIn({ url, detail }, `${at}.image_url`) });
    } else words += wordsOf(part, at);
  }
  return { content: words, images };
}

function wordsOf(part: Exclude<Part, { type: "input_image" }>, place: string): string {
  switch (part.type) {
    case "refusal":
      return part.refusal;
    case "input_file":
      return fileText(part, `${place}.file_data`);
    default:
      return part.text;
  }
}

/** As a file, so that its words are not taken for the user's. */
function fileText({ filename, file_data }: FilePart, place: string): string {
  const [, base64] =
    /^data:(?:text\/[\w.+-]+|application\/(?:[\w.-]+\+)?(?:json|xml|yaml))(?:;charset=utf-8)?;base64,(.*)$/is.exec(
      file_data,
    ) ?? [];
  const text = base64 === undefined ? null : textIn(base64);
  if (text !== null) return `<file${filename ? ` name=${JSON.stringify(filename)}` : ""}>\n${text}\n</file>\n`;
  const found = JSON.stringify(file_data.slice(0, SHOWN_MAX));
  const state = `expected a file of text as a data URL in base64, found ${found}`;
  throw new Failure("unsupported", `Cannot use "${place}": ${state}`, place);
}

const SHOWN_MAX = 40;

/** null: it is no text. */
function textIn(base64: string): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(base64));
  } catch {
    return null;
  }
}

function summaryIn(encrypted_content: string, place: string | null): string {
  const summary = thoughtIn(encrypted_content);
  if (summary !== "") return `<summary>\n${summary}\n</summary>`;
  const parameter = `${place}.encrypted_content`;
  throw new Failure("unsupported", `Cannot use "${parameter}": another server has written it`, parameter);
}

function thoughtOf({ content, summary, encrypted_content }: WireReasoning): string {
  const told = (content ?? []).map(({ text }) => text).join("");
  if (told !== "") return told;
  const hidden = thoughtIn(encrypted_content ?? "");
  return hidden === "" ? summary.map(({ text }) => text).join("\n\n") : hidden;
}
