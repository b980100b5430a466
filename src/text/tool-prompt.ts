/** Puts tools, calls and their results into the messages of a chat, as its template takes them. Knows no template's text. */

import type { Message, ToolDefinition } from "../core/generation.ts";

/** What a template is given. */
export interface TemplateChat {
  readonly messages: readonly TemplateMessage[];
  /** null where there are none, or where the messages tell of them. */
  readonly tools: readonly object[] | null;
}

interface TemplateMessage {
  readonly role: Message["role"];
  readonly content: string;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly object[];
  readonly tool_call_id?: string;
  /** Of the tool whose result it is, or of who speaks. */
  readonly name?: string;
}

export function templateChat(
  messages: readonly Message[],
  tools: readonly ToolDefinition[],
  knows_tools: boolean,
): TemplateChat {
  const all = tools.length > 0 ? tools.map(described) : null;
  if (knows_tools) return { messages: messages.map((message) => structured(message, messages)), tools: all };
  // In front of what comes first, be it the system or the user: some templates take no system message.
  const [first, ...others] = inTurns(messages);
  const told =
    all === null || first === undefined ? first : { ...first, content: `${toldOf(all)}\n\n${first.content}` };
  return { messages: told === undefined ? [] : [told, ...others], tools: null };
}

function described({ name, description, parameters }: ToolDefinition): object {
  return { type: "function", function: { name, ...(description === null ? {} : { description }), parameters } };
}

function structured(message: Message, all: readonly Message[]): TemplateMessage {
  if (message.role === "tool") {
    const name = all
      .flatMap((each) => (each.role === "assistant" ? each.tool_calls : []))
      .findLast((call) => call.id === message.tool_call_id)?.name;
    return name === undefined ? message : { ...message, name };
  }
  if (message.role !== "assistant") return message;
  const { role, content, reasoning, tool_calls, name } = message;
  const calls = tool_calls.map(({ id, name, arguments: text }) => {
    return { id, type: "function", function: { name, arguments: valueOfJson(text) } };
  });
  return {
    role,
    content,
    ...(name === undefined ? {} : { name }),
    ...(reasoning === null ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

/** Templates take arguments as values, as transformers passes them; what a model left unfinished stays text. */
function valueOfJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

interface Told {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** The form that most models have seen, and that answers are read in where a template names none. */
function toldOf(tools: readonly object[]): string {
  const lines = tools.map((tool) => JSON.stringify(tool)).join("\n");
  return (
    `You may call one or more of these tools:\n<tools>\n${lines}\n</tools>\n` +
    "To call one, answer with its name and its arguments as JSON between tags:\n" +
    '<tool_call>\n{"name": "the tool\'s name", "arguments": {}}\n</tool_call>'
  );
}

function inWords(message: Message): Told {
  switch (message.role) {
    case "tool":
      return { role: "user", content: `<tool_response>\n${message.content}\n</tool_response>` };
    case "assistant": {
      const calls = message.tool_calls.map(({ name, arguments: text }) => {
        return `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${text}}\n</tool_call>`;
      });
      return { role: "assistant", content: [message.content, ...calls].filter((part) => part !== "").join("\n") };
    }
    default:
      return message;
  }
}

/** Templates want roles in turn: a result is one message with the results and the words of the user beside it. */
function inTurns(messages: readonly Message[]): readonly Told[] {
  const all: Told[] = [];
  for (const [index, message] of messages.entries()) {
    const told = inWords(message);
    const last = all.at(-1);
    const is_beside_result = message.role === "tool" || messages[index - 1]?.role === "tool";
    if (!is_beside_result || last?.role !== told.role) all.push(told);
    else all[all.length - 1] = { ...told, content: `${last.content}\n\n${told.content}` };
  }
  return all;
}
