/** Turns languages of characters into automata over bytes: as they are, or as the inside of a JSON string. Knows no tokens. */

import { createHash } from "node:crypto";
import type { Terminal } from "../../core/grammar.ts";
import type { Budget } from "./budget.ts";
import { ANY_CHARACTER } from "./expression.ts";
import { determinize, type Edge, isEmpty, type Language, Machine, matching } from "./language.ts";

/** The bytes that the model's tokens can spell one by one: whatever begins with them can be finished. */
export type Alphabet = ReadonlySet<number>;

/** The texts of a language in UTF-8; null when there is none. */
export function plainTerminal(language: Language, alphabet: Alphabet, budget: Budget): Terminal | null {
  return terminal(encoded(language, addPlain, alphabet, budget), budget);
}

/** The same texts inside JSON strings, in their shortest form; with the closing quote. */
export function stringTerminal(language: Language, alphabet: Alphabet, budget: Budget): Terminal | null {
  return terminal(encoded(language, addEscaped, alphabet, budget, QUOTE), budget);
}

/** A character inside a JSON string. */
export function characterTerminal(alphabet: Alphabet, budget: Budget): Terminal | null {
  return terminal(encoded(matching(ANY_CHARACTER, budget), addEscaped, alphabet, budget), budget);
}

/** Adds a place from which a byte of the range leads to another, and gives it. */
type AddBytes = (low: number, high: number, to: number) => number;

/** Adds the ways from a place to another for the characters from `low` to `high`, and gives where each begins. */
type AddCharacters = (addBytes: AddBytes, low: number, high: number, next: number) => number[];

function encoded(
  language: Language,
  addCharacters: AddCharacters,
  alphabet: Alphabet,
  budget: Budget,
  close: number | null = null,
): Language {
  const machine = new Machine(budget);
  const addBytes: AddBytes = (low, high, to) => machine.place(spelled(low, high, alphabet, to));
  const end = close === null ? machine.accept : addBytes(close, close, machine.accept);
  const places = language.edges.map((_, state) => machine.place([], language.accepting[state] ? [end] : []));
  for (const [state, edges] of language.edges.entries()) {
    const always = machine.places[places[state] ?? 0]?.always;
    for (const { low, high, to } of edges) always?.push(...addCharacters(addBytes, low, high, places[to] ?? 0));
  }
  return determinize(machine, places[0] ?? 0, budget);
}

function spelled(low: number, high: number, alphabet: Alphabet, to: number): Edge[] {
  const parts: { low: number; high: number; to: number }[] = [];
  for (let byte = low; byte <= high; byte++) {
    if (!alphabet.has(byte)) continue;
    const last = parts.at(-1);
    if (last !== undefined && last.high === byte - 1) last.high = byte;
    else parts.push({ low: byte, high: byte, to });
  }
  return parts;
}

function addPlain(addBytes: AddBytes, low: number, high: number, next: number): number[] {
  return [...sequences(low, high)].map((bytes) =>
    bytes.reduceRight((to, [from, until]) => addBytes(from, until, to), next),
  );
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PRINTABLE = 0x20;
const SHORT_ESCAPES: ReadonlyMap<number, string> = new Map([
  [0x8, "b"],
  [0x9, "t"],
  [0xa, "n"],
  [0xc, "f"],
  [0xd, "r"],
  [QUOTE, '"'],
  [BACKSLASH, "\\"],
]);

function addEscaped(addBytes: AddBytes, low: number, high: number, next: number): number[] {
  const begins: number[] = [];
  const addEscape = (code: number) => {
    const short = SHORT_ESCAPES.get(code);
    const text = short === undefined ? `\\u${code.toString(16).padStart(4, "0")}` : `\\${short}`;
    const bytes = Array.from(text, (character) => character.charCodeAt(0));
    begins.push(bytes.reduceRight((to, byte) => addBytes(byte, byte, to), next));
  };
  for (let code = low; code <= Math.min(high, FIRST_PRINTABLE - 1); code++) addEscape(code);
  let from = Math.max(low, FIRST_PRINTABLE);
  for (const code of [QUOTE, BACKSLASH]) {
    if (code < from || code > high) continue;
    addEscape(code);
    begins.push(...addPlain(addBytes, from, code - 1, next));
    from = code + 1;
  }
  begins.push(...addPlain(addBytes, from, high, next));
  return begins;
}

/** One text of bytes, whatever the tokens can spell. */
export function bytesTerminal(bytes: readonly number[], budget: Budget): Terminal | null {
  const edges = bytes.map((byte, place): Edge[] => [{ low: byte, high: byte, to: place + 1 }]);
  return terminal({ edges: [...edges, []], accepting: [...edges.map(() => false), true] }, budget);
}

type ByteRange = readonly [low: number, high: number];

/** Where UTF-8 takes a byte more, and where surrogates leave a gap. */
const PARTS: readonly (readonly [low: number, high: number])[] = [
  [0x0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, 0x10ffff],
];

/** The UTF-8 of a range of code points, as sequences of byte ranges. */
function* sequences(low: number, high: number): Generator<readonly ByteRange[]> {
  for (const [first, last] of PARTS) {
    const from = Math.max(low, first);
    const to = Math.min(high, last);
    if (from <= to)
      yield* evenSequences(Buffer.from(String.fromCodePoint(from)), Buffer.from(String.fromCodePoint(to)));
  }
}

/** Of two encodings of one length. */
function* evenSequences(low: Uint8Array, high: Uint8Array): Generator<readonly ByteRange[]> {
  const [first_low = 0, ...rest_low] = low;
  const [first_high = 0, ...rest_high] = high;
  if (low.length === 1) return yield [[first_low, first_high]];
  const lowest = new Uint8Array(rest_low.length).fill(0x80);
  const highest = new Uint8Array(rest_low.length).fill(0xbf);
  const under = (lead: number, from: Uint8Array, to: Uint8Array) =>
    [...evenSequences(from, to)].map((rest): readonly ByteRange[] => [[lead, lead], ...rest]);
  if (first_low === first_high) return yield* under(first_low, Uint8Array.from(rest_low), Uint8Array.from(rest_high));
  yield* under(first_low, Uint8Array.from(rest_low), highest);
  if (first_low + 1 < first_high) {
    yield [[first_low + 1, first_high - 1], ...Array.from(lowest, (): ByteRange => [0x80, 0xbf])];
  }
  yield* under(first_high, lowest, Uint8Array.from(rest_high));
}

function terminal(bytes: Language, budget: Budget): Terminal | null {
  if (isEmpty(bytes)) return null;
  budget.spend(bytes.edges.length * 4);
  const { classes, class_count } = byteClasses(bytes);
  budget.spend(Math.ceil((bytes.edges.length * class_count) / 8));
  const table = new Int32Array(bytes.edges.length * class_count).fill(-1);
  for (const [state, edges] of bytes.edges.entries()) {
    for (const { low, high, to } of edges) {
      for (let byte = low; byte <= high; byte++) table[state * class_count + (classes[byte] ?? 0)] = to;
    }
  }
  const accepting = Uint8Array.from(bytes.accepting, Number);
  const hash = createHash("sha256").update(classes).update(new Uint8Array(table.buffer)).update(accepting);
  const key = hash.digest("base64");
  return {
    key,
    classes: [...classes],
    class_count,
    table: Array.from(table),
    accepting: [...accepting],
    repeated: null,
  };
}

/** Bytes that lead the same way from every state so far are one class; a state that parts them makes more. */
function byteClasses({ edges }: Language): { classes: Uint8Array; class_count: number } {
  const classes = new Uint8Array(256);
  let class_count = 1;
  const row = new Int32Array(256);
  const first = new Int32Array(256);
  for (const own of edges) {
    row.fill(-1);
    for (const { low, high, to } of own) row.fill(to, low, high + 1);
    for (let byte = 255; byte >= 0; byte--) first[classes[byte] ?? 0] = row[byte] ?? -1;
    if (classes.every((own_class, byte) => first[own_class] === row[byte])) continue;
    const parted = new Map<string, number>();
    for (let byte = 0; byte < 256; byte++) {
      const name = `${classes[byte]} ${row[byte]}`;
      const known = parted.get(name) ?? parted.size;
      parted.set(name, known);
      classes[byte] = known;
    }
    class_count = parted.size;
  }
  return { classes, class_count };
}
