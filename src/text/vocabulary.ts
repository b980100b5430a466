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
  const offsets = new Uint32Array(texts.length + 1);
  const spelled = new Spelled();
  for (const [id, text] of texts.entries()) {
    if (text !== undefined && !names.has(id)) spell(text, steps.steps, spelled);
    offsets[id + 1] = spelled.length;
  }
  const marking = added_tokens.filter((token) => isMark(token, marks));
  return {
    bytes: spelled.bytes(),
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

/** The bytes of all tokens, one after another: an array for each would take most of the time. */
class Spelled {
  length = 0;
  #room = new Uint8Array(FIRST_BYTES);

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#room.slice(0, this.length);
  }

  push(byte: number): void {
    if (this.length === this.#room.length) this.#grow(1);
    this.#room[this.length] = byte;
    this.length += 1;
  }

  pushText(text: string): void {
    const bytes_max = 3 * text.length;
    if (this.length + bytes_max > this.#room.length) this.#grow(bytes_max);
    this.length += UTF8.encodeInto(text, this.#room.subarray(this.length)).written;
  }

  #grow(bytes: number): void {
    const grown = new Uint8Array(2 * this.#room.length + bytes);
    grown.set(this.#room);
    this.#room = grown;
  }
}

const FIRST_BYTES = 2 ** 20;

/** Makes other text of a token's text; or writes its bytes and ends the chain, which null tells. */
type Step = (text: string, spelled: Spelled) => string | null;

interface Steps {
  readonly steps: readonly Step[];
  readonly strips_leading_space: boolean;
  /** From here on a decoder sees the whole text, not tokens. */
  readonly fused: boolean;
}

const UTF8 = new TextEncoder();

/** Without a decoder the original joins tokens with spaces. */
const NO_DECODER: Steps = { steps: [(text) => ` ${text}`], strips_leading_space: true, fused: false };

function spell(text: string, steps: readonly Step[], spelled: Spelled): void {
  let rest: string | null = text;
  for (const step of steps) {
    rest = step(rest, spelled);
    if (rest === null) return;
  }
  spelled.pushText(rest);
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

function byteFallback(text: string, spelled: Spelled): string | null {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1];
  if (byte === undefined) return text;
  spelled.push(Number.parseInt(byte, 16));
  return null;
}

/** Byte-level alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on, in order. By UTF-16 unit. */
const BYTE_OF: readonly (number | undefined)[] = byteOfUnit();

function byteOfUnit(): (number | undefined)[] {
  const bytes: (number | undefined)[] = [];
  for (const [byte, unit] of byteAlphabet().entries()) bytes[unit] = byte;
  return bytes;
}

/** The unit of each byte. */
function byteAlphabet(): readonly number[] {
  const isPrintable = (byte: number) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => (isPrintable(byte) ? byte : next++));
}

/** A token with a character outside the alphabet, which only an added one has, stands for its own text. */
function byteLevel(text: string, spelled: Spelled): null {
  const start = spelled.length;
  for (let at = 0; at < text.length; at++) {
    const byte = BYTE_OF[text.charCodeAt(at)];
    if (byte === undefined) {
      spelled.length = start;
      spelled.pushText(text);
      break;
    }
    spelled.push(byte);
  }
  return null;
}
