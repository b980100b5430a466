/** Turns a tokenizer's decoder into a table of bytes per token, and refuses by name a decoder that has no such table. */

import type { AddedToken } from "./added-tokens.ts";
import type { JsonPart } from "./json-part.ts";
import type { Vocabulary } from "./messages.ts";

/** `texts`: token texts by id; special tokens yield none. `marks`: what the model's answers are marked with. */
export function vocabularyOf(
  decoder: JsonPart | null,
  texts: readonly (string | undefined)[],
  added_tokens: readonly AddedToken[],
  marks: readonly string[] = [],
): Vocabulary {
  const steps = decoder === null ? NO_DECODER : stepsOf(decoder);
  const names = new Map(added_tokens.filter((token) => token.special).map(({ id, content }) => [id, content]));
  const parts = texts.map((text, id) => (text === undefined || names.has(id) ? NO_BYTES : bytesOf(text, steps.steps)));
  const offsets = new Uint32Array(texts.length + 1);
  for (const [id, part] of parts.entries()) offsets[id + 1] = (offsets[id] ?? 0) + part.length;
  const bytes = new Uint8Array(offsets.at(-1) ?? 0);
  for (const [id, part] of parts.entries()) bytes.set(part, offsets[id]);
  const marking = added_tokens.filter((token) => isMark(token, marks));
  return {
    bytes,
    offsets,
    names,
    marks: new Map(marking.map(({ id, content }) => [id, content])),
    strips_leading_space: steps.strips_leading_space,
  };
}

/** A control token may be only a part of a mark; one that is text might stand in any. */
function isMark({ content, special }: AddedToken, marks: readonly string[]): boolean {
  return special ? content !== "" && marks.some((mark) => mark.includes(content)) : marks.includes(content);
}

/** A step makes other text of a token's text, or its bytes and ends the chain. */
type Step = (text: string) => string | Uint8Array;

interface Steps {
  readonly steps: readonly Step[];
  readonly strips_leading_space: boolean;
  /** From here on a decoder sees the whole text, not tokens. */
  readonly fused: boolean;
}

const NO_BYTES = new Uint8Array(0);
const UTF8 = new TextEncoder();

/** Without a decoder the original joins tokens with spaces. */
const NO_DECODER: Steps = { steps: [(text) => ` ${text}`], strips_leading_space: true, fused: false };

function bytesOf(text: string, steps: readonly Step[]): Uint8Array {
  let value: string | Uint8Array = text;
  for (const step of steps) {
    if (typeof value !== "string") return value;
    value = step(value);
  }
  return typeof value === "string" ? UTF8.encode(value) : value;
}

function stepsOf(part: JsonPart): Steps {
  let all: Steps = { steps: [], strips_leading_space: false, fused: false };
  for (const each of flatten(part)) {
    const next = stepOf(each, all.fused);
    all = {
      steps: [...all.steps, ...next.steps],
      strips_leading_space: all.strips_leading_space || next.strips_leading_space,
      fused: all.fused || next.fused,
    };
  }
  return all;
}

function flatten(part: JsonPart): readonly JsonPart[] {
  return part.text("type") === "Sequence" ? part.parts("decoders").flatMap(flatten) : [part];
}

function stepOf(part: JsonPart, fused: boolean): Steps {
  const type = part.text("type");
  if (type === "Fuse") return { steps: [], strips_leading_space: false, fused: true };
  if (type === "Strip") return stripOf(part, fused);
  const make = STEPS.get(type);
  if (make === undefined || fused) throw part.unsupported(`the decoder ${type}${fused ? " after Fuse" : ""}`);
  return { steps: [make(part)], strips_leading_space: dropsFirstSpace(part), fused: false };
}

const STEPS: ReadonlyMap<string, (part: JsonPart) => Step> = new Map([
  ["ByteLevel", () => byteLevel],
  ["ByteFallback", () => byteFallback],
  ["Replace", replaceOf],
  ["Metaspace", metaspaceOf],
  ["WordPiece", wordPieceOf],
]);

/** After Fuse only "one space at the beginning" can be told without the whole text. */
function stripOf(part: JsonPart, fused: boolean): Steps {
  const content = part.text("content");
  const start = part.number("start");
  const stop = part.number("stop");
  if (fused) {
    if (content !== " " || start !== 1 || stop !== 0) throw part.unsupported("a Strip of other than one leading space");
    return { steps: [], strips_leading_space: true, fused };
  }
  const left = (text: string) => {
    let cut = 0;
    while (cut < start && text[cut] === content) cut += 1;
    return text.slice(cut);
  };
  const right = (text: string) => {
    let end = text.length;
    while (text.length - end < stop && text[end - 1] === content) end -= 1;
    return text.slice(0, end);
  };
  return { steps: [(text) => right(left(text))], strips_leading_space: false, fused };
}

function dropsFirstSpace(part: JsonPart): boolean {
  switch (part.text("type")) {
    case "Metaspace":
      return part.textOrNull("prepend_scheme") !== "never";
    case "WordPiece":
      return true;
    default:
      return false;
  }
}

function replaceOf(part: JsonPart): Step {
  const content = part.text("content");
  const pattern = part.part("pattern").textOrNull("String");
  if (pattern === null) throw part.unsupported("a Replace decoder with an expression");
  return (text) => text.replaceAll(pattern, () => content);
}

function metaspaceOf(part: JsonPart): Step {
  const replacement = part.textOrNull("replacement") ?? "▁";
  return (text) => text.replaceAll(replacement, " ");
}

function wordPieceOf(part: JsonPart): Step {
  if (part.flag("cleanup", true)) throw part.unsupported("a WordPiece decoder with cleanup");
  const prefix = part.text("prefix");
  return (text) => (text.startsWith(prefix) ? text.slice(prefix.length) : ` ${text}`);
}

function byteFallback(text: string): string | Uint8Array {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1];
  return byte === undefined ? text : Uint8Array.of(Number.parseInt(byte, 16));
}

/** Byte-level alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on, in order. By UTF-16 unit. */
const BYTE_OF: ReadonlyMap<number, number> = new Map(byteAlphabet().map((unit, byte) => [unit, byte]));

/** The unit of each byte. */
function byteAlphabet(): readonly number[] {
  const isPrintable = (byte: number) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => (isPrintable(byte) ? byte : next++));
}

/** A token with a character outside the alphabet, which only an added one has, stands for its own text. */
function byteLevel(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) {
    const byte = BYTE_OF.get(text.charCodeAt(at));
    if (byte === undefined) return UTF8.encode(text);
    bytes[at] = byte;
  }
  return bytes;
}
