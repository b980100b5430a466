/** Where the text that a chat template writes ends: before an answer, behind the last message, or within it. Knows no tokens. */

import { Failure } from "../core/failure.ts";
import type { ChatEnd } from "../core/generation.ts";

interface Shown extends Record<string, unknown> {
  readonly role: string;
}

/**
 * `mark` stands in none of the messages. A message that is to go on carries it at its end, so that its last white space stays,
 * and wherever the template trims and puts it, the text ends there.
 */
export function renderTo<Message extends Shown>(
  ends: ChatEnd,
  messages: readonly Message[],
  mark: string,
  render: (messages: readonly Message[], options: Readonly<Record<string, unknown>>) => string,
): string {
  if (ends === "answer") return render(messages, {});
  if (ends === "bare") return render(messages, NO_ANSWER);
  const last = messages.length - 1;
  const marked = messages.map((message, index) => {
    return index < last ? message : { ...message, content: `${String(message["content"])}${mark}` };
  });
  const text = render(marked, NO_ANSWER);
  const end = text.lastIndexOf(mark);
  if (end >= 0) return text.slice(0, end).replaceAll(mark, "");
  const state = "the model's chat template does not write it";
  throw new Failure("unsupported", `Cannot go on with the last message: ${state}`, "messages");
}

/** The variable that tells a template whether to begin an answer. */
export const ANSWER_SWITCH = "add_generation_prompt";
const NO_ANSWER = { [ANSWER_SWITCH]: false };
