/**
 * The text worker: answers one call after another. Tokenizers and templates live here so that the server never waits
 * for them.
 */

import { toRecord } from "../core/failure.ts";
import { departure } from "./grammar/check.ts";
import { compileGrammar } from "./grammar/compile.ts";
import type { FromText, TextAnswers, TextCall, ToText } from "./messages.ts";
import { LoadedText } from "./model.ts";

declare const self: Worker;

const loaded = new Map<string, LoadedText>();

self.addEventListener("message", (event: MessageEvent<ToText>) => {
  try {
    const value = answer(event.data);
    const moved =
      typeof value === "object" && value !== null && "vocabulary" in value
        ? [value.vocabulary.bytes.buffer, value.vocabulary.offsets.buffer]
        : [];
    post({ kind: "answer", value }, moved);
  } catch (error) {
    post({ kind: "failed", failure: toRecord(error, "unavailable") });
  }
  // Else what such a text took, a hundred times its size, stays with the process.
  const { call } = event.data;
  if (call.kind === "forget" || charactersOf(call) > LONG_TEXT) Bun.gc(true);
});

/** In UTF-16 units. Collecting takes some 50 ms, reading so much text a second. */
const LONG_TEXT = 1_000_000;

function charactersOf(call: TextCall): number {
  switch (call.kind) {
    case "load":
    case "forget":
    case "compile":
    case "check":
      return 0;
    case "encode_chat":
    case "render_chat":
      return call.chat.messages.reduce((sum, { content }) => sum + content.length, 0);
    case "encode_text":
      return call.text.length;
    case "encode_fill":
      return call.gap.before.length + call.gap.behind.length;
    case "encode_inputs":
      return call.inputs.flat().reduce((sum, text) => sum + text.length, 0);
  }
}

function post(reply: FromText, moved: ArrayBufferLike[] = []): void {
  self.postMessage(reply, moved as ArrayBuffer[]);
}

function answer({ call, left }: ToText): TextAnswers[keyof TextAnswers] {
  switch (call.kind) {
    case "load":
      return open(call.path).describe();
    case "forget":
      loaded.delete(call.path);
      return [];
    case "encode_chat":
      return open(call.path).encodeChat(call.chat, new Date(call.now_ms), enough(call.tokens_max, left));
    case "encode_text":
      return open(call.path).encodeText(call.text, call.around, enough(call.tokens_max, left));
    case "encode_fill":
      return open(call.path).encodeFill(call.gap, call.tokens_max, () => Atomics.load(left, 0) !== 0);
    case "render_chat":
      return open(call.path).renderChat(call.chat, new Date(call.now_ms));
    case "compile":
      return compileGrammar(call.constraint, new Set(call.alphabet), call.marks);
    case "check":
      return departure(call.constraint, call.text);
    case "encode_inputs":
      return open(call.path).encodeInputs(call.inputs, call.tokens_max, () => Atomics.load(left, 0) !== 0);
  }
}

function enough(tokens_max: number, left: Int32Array): (tokens: number) => boolean {
  return (tokens) => tokens >= tokens_max || Atomics.load(left, 0) !== 0;
}

/** A worker that was started anew opens models again when they are first used. */
function open(path: string): LoadedText {
  const known = loaded.get(path);
  if (known !== undefined) return known;
  const opened = new LoadedText(path);
  loaded.set(path, opened);
  return opened;
}
