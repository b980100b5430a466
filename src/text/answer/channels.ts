/** Answers that are messages with headers: Harmony's channels, and Functionary's recipients. Knows no wire format. */

import { readArguments } from "./calls.ts";
import { type Parse, unfinished } from "./input.ts";
import type { Segments } from "./segments.ts";

export function channelMessages(segments: Segments, channels: "harmony" | "recipients"): Parse {
  return channels === "harmony" ? harmony(segments) : recipients(segments);
}

const START = "<|start|>";
const MESSAGE = "<|message|>";
const ENDS = ["<|end|>", "<|call|>", "<|return|>", "<|eom|>", "<|eot|>"];
const BODY_STOPS = [START, "<|channel|>", ...ENDS];
/** What a header begins with, behind the `<|start|>assistant` that the prompt holds. */
const HEADER_STARTS = [START, "<|channel|>", MESSAGE, "to="];

function* harmony(segments: Segments): Parse {
  const { input, content } = segments;
  for (;;) {
    const space = yield* input.space();
    if ((yield* input.peek()) === "") return content.end();
    if ((yield* input.takeAny(ENDS)) !== null) continue;
    if (yield* beginsHeader(segments)) yield* segments.attempt(message(segments));
    else {
      content.push(space);
      if ((yield* segments.text(BODY_STOPS)) === null) return content.end();
    }
  }
}

function* beginsHeader({ input }: Segments): Parse<boolean> {
  for (const start of HEADER_STARTS) if (yield* input.startsWith(start)) return true;
  return false;
}

function* message(segments: Segments): Parse {
  const { input, options } = segments;
  input.settle();
  let header = "";
  const stop = yield* input.until([MESSAGE], (text) => {
    header += text;
  });
  if (stop === null) unfinished("the text ends in the header of a message");
  input.skip(MESSAGE.length);
  const recipient = /\bto=([^\s<]+)/u.exec(header)?.[1];
  const channel = /<\|channel\|>\s*(\w+)/u.exec(header)?.[1];
  const is_call = recipient !== undefined && !PEOPLE.has(recipient);
  const is_read = is_call && options.reads_calls && options.format.calls.length === 0;
  const is_told = is_call && options.tools.some((tool) => tool.name === recipient); // by the call in the message
  const other = header.replace(HEADER_PARTS, "").trim();
  if (other !== "" || (is_call && !is_read && !is_told)) segments.writer.ignore(header.trim());
  if (is_read) yield* call(segments, recipient);
  else if ((recipient === "self" || channel === "analysis") && options.parts_reasoning) {
    yield* segments.reasoning(BODY_STOPS);
  } else {
    if (recipient === "self" || channel === "analysis") segments.content.push(input.takeUnsettled());
    input.settle();
    yield* segments.text(BODY_STOPS);
  }
}

const HEADER_PARTS =
  /<\|start\|>\s*assistant\b|\bto=[^\s<]+|<\|channel\|>\s*(?:analysis|commentary|final)\b|(?:<\|constrain\|>\s*)?\b(?:json|code)\b/gu;
/** Who is no tool. */
const PEOPLE: ReadonlySet<string> = new Set(["self", "user", "all", "assistant"]);

function* call({ input, writer }: Segments, recipient: string): Parse {
  writer.begin(recipient.replace(/^functions\./u, ""), null);
  yield* readArguments(input, writer.write);
  writer.end();
}

/** `>>>name`, a line end, then the arguments; the prompt holds the first `>>>`, or the beginning of the text behind one. */
function* recipients(segments: Segments): Parse {
  const { input, content, options } = segments;
  if (options.is_begun) yield* segments.text([NEXT]);
  else yield* segments.attempt(recipientMessage(segments));
  while (yield* input.take(NEXT)) yield* segments.attempt(recipientMessage(segments));
  yield* segments.text([]);
  content.end();
}

const NEXT = ">>>";

function* recipientMessage(segments: Segments): Parse {
  const { input, writer, options } = segments;
  input.settle();
  const name = yield* input.takeWhile((unit) => /[\w.-]/.test(unit));
  if (name === "" || !(yield* input.take("\n"))) {
    segments.content.push(input.takeUnsettled());
    yield* segments.text([NEXT]);
  } else if (name === "all" || !options.reads_calls) {
    input.settle();
    yield* segments.text([NEXT]);
  } else {
    writer.begin(name, null);
    yield* readArguments(input, writer.write);
    writer.end();
    yield* input.space();
  }
}
