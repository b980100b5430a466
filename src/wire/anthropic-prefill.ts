/** Anthropic's messages: a last turn of the assistant, whose text the answer goes on with. Knows no HTTP and no chat template. */

import type { AssistantMessage, Message, Prompt } from "../core/generation.ts";
import { wrong } from "./anthropic-turns.ts";

/** What of a request cannot go with an answer that has begun; null where it is not asked for. */
interface Wishes {
  readonly thinking: string | null;
  readonly form: string | null;
}

/** The answer then holds only what is new. A last turn that says nothing is as good as none. */
export function promptOf(messages: readonly Message[], wishes: Wishes): Prompt {
  const last = messages.at(-1);
  if (last?.role !== "assistant") return { kind: "messages", messages };
  if (saysNothing(last)) return { kind: "messages", messages: messages.slice(0, -1) };
  if (last.tool_calls.length > 0) throw wrong("messages", "the last calls tools, expected their results behind it");
  if (last.content === "") throw wrong("messages", "the last is a thought only, expected text to go on with");
  if (/\s$/.test(last.content)) {
    throw wrong("messages", "final assistant content cannot end with trailing whitespace");
  }
  const asked = wishes.thinking ?? wishes.form;
  if (asked !== null) throw wrong(asked, "the last message is the assistant's, and has begun the answer");
  return { kind: "messages", messages, ends: "begun" };
}

function saysNothing({ content, reasoning, tool_calls }: AssistantMessage): boolean {
  return content === "" && reasoning === null && tool_calls.length === 0;
}
