/**
 * Keeps a message from being read as control tokens: a mark is put inside whatever in its text could become one, travels
 * through the chat template, and is taken out again; where it was, no control token may stand.
 */

import { Failure } from "../core/failure.ts";
import type { Message } from "../core/generation.ts";
import type { AddedTokens } from "./added-tokens.ts";

export interface Guarded {
  readonly messages: readonly Message[];
  readonly mark: string;
}

export function guard(messages: readonly Message[], control: AddedTokens): Guarded {
  const mark = unusedMark(messages.map((message) => message.content));
  return { messages: messages.map((each) => ({ ...each, content: marked(each.content, control, mark) })), mark };
}

/** The rendered text without marks, and the offsets where they were, ascending. */
export function unguard(rendered: string, mark: string): { readonly text: string; readonly seams: readonly number[] } {
  const pieces = rendered.split(mark);
  const seams: number[] = [];
  let length = 0;
  for (const piece of pieces.slice(0, -1)) {
    length += piece.length;
    seams.push(length);
  }
  return { text: pieces.join(""), seams };
}

/** Private use planes 15 and 16: no template and no vocabulary gives their characters a meaning. */
const MARK_FIRST = 0xf0000;
const MARK_LAST = 0x10fffd;

function unusedMark(contents: readonly string[]): string {
  for (let code = MARK_FIRST; code <= MARK_LAST; code++) {
    const mark = String.fromCodePoint(code);
    if (!contents.some((content) => content.includes(mark))) return mark;
  }
  throw new Failure("invalid_request", "Cannot use these messages: they hold all private characters", "messages");
}

/** The mark stands behind the first character of what is, or at the end of the message may become, a control token. */
function marked(content: string, control: AddedTokens, mark: string): string {
  // A template may trim the message, so its end is before the white space; a token that goes on there goes on behind it too.
  const trimmed = content.trimEnd().length;
  let text = "";
  let done = 0;
  for (let at = 0; at < trimmed; at++) {
    if (!control.mayBeginAt(content, at, trimmed)) continue;
    const behind = at + ((content.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);
    text += content.slice(done, behind) + mark;
    done = behind;
  }
  return text + content.slice(done);
}
