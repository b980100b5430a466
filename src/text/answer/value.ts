/** Reads a value as models write it (JSON, Python, Gemma's quotes) and writes it as JSON while it comes. Knows no call. */

import { Input, malformed, type Parse, unfinished } from "./input.ts";

export type Write = (json: string) => void;

/** A value; what is not JSON about it becomes JSON. */
export function* readValue(input: Input, write: Write, depth = 0): Parse {
  if (depth > DEPTH_MAX) malformed(`more than ${DEPTH_MAX} levels of values`);
  yield* input.space();
  const first = yield* input.peek();
  if (first === "") unfinished("the text ends before a value");
  const quote = yield* input.takeAny(QUOTES);
  if (quote !== null) yield* readString(input, quote, write);
  else if (first === "{") yield* readObject(input, write, depth);
  else if (first === "[" || first === "(") yield* readList(input, write, first === "[" ? "]" : ")", depth);
  else if (NUMBER_UNIT.test(first)) yield* readNumber(input, write);
  else yield* readWord(input, write);
}

/** From the bracket on. Python's arguments stand in round ones. */
export function* readObject(input: Input, write: Write, depth = 0, close: "}" | ")" = "}"): Parse {
  input.skip(1);
  write("{");
  yield* readItems(input, write, close, function* () {
    yield* readKey(input, write);
    yield* readSeparator(input, write);
    write(yield* input.space());
    yield* readValue(input, write, depth + 1);
  });
  write("}");
}

/** `item` reads one; takes the closing bracket. A comma before it is dropped. */
export function* readItems(input: Input, write: Write, close: string, item: () => Parse): Parse {
  let gap = "";
  for (;;) {
    gap += yield* input.space();
    if (yield* input.take(close)) return;
    if (gap !== "") write(gap);
    yield* item();
    gap = yield* input.space();
    if (yield* input.take(",")) gap += ",";
    else if (yield* input.take(close)) return;
    else if ((yield* input.peek()) === "") unfinished(`the text ends before "${close}"`);
    else malformed(`expected "," or "${close}"`);
  }
}

/** `:`, or `=` as in Python. */
export function* readSeparator(input: Input, write: Write): Parse {
  yield* input.space();
  if (yield* input.take(":")) write(":");
  else if (yield* input.take("=")) write(": ");
  else if ((yield* input.peek()) === "") unfinished("the text ends behind a key");
  else malformed('expected ":" behind a key');
}

/** Quoted or bare; written quoted. */
export function* readKey(input: Input, write: Write): Parse {
  const quote = yield* input.takeAny(QUOTES);
  if (quote !== null) return yield* readString(input, quote, write);
  const key = yield* input.takeWhile((unit) => /[\w$.-]/.test(unit));
  if ((yield* input.peek()) === "") unfinished("the text ends in a key");
  if (key === "") malformed("expected a key");
  write(JSON.stringify(key));
}

/** A whole text as JSON; null where it is no value. */
export function toJson(text: string): string | null {
  const input = new Input();
  input.push(text);
  input.end();
  let json = "";
  try {
    readValue(input, (part) => {
      json += part;
    }).next();
    return input.unread().trim() === "" ? json : null;
  } catch {
    return null;
  }
}

/** Of a string's text: what JSON does not allow in one. */
export function escaped(text: string): string {
  return text.replace(/["\\\p{Cc}]/gu, (unit) => JSON.stringify(unit).slice(1, -1));
}

/** Deeper than any schema of a tool, and far from the end of the stack. */
const DEPTH_MAX = 100;
/** Those of Gemma's families last; a string between them has no escapes. */
const QUOTES: readonly string[] = ['"', "'", '"""', "'''", '<|"|>', "<escape>"];
const NUMBER_UNIT = /[-+.\d]/;
const NUMBER_UNITS = /[-+.\w]/;
const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/;
export const LITERALS: ReadonlyMap<string, string> = new Map([
  ["true", "true"],
  ["false", "false"],
  ["null", "null"],
  ["True", "true"],
  ["False", "false"],
  ["None", "null"],
  ["NaN", "null"],
]);

function* readList(input: Input, write: Write, close: string, depth: number): Parse {
  input.skip(1);
  write("[");
  yield* readItems(input, write, close, () => readValue(input, write, depth + 1));
  write("]");
}

function* readString(input: Input, quote: string, write: Write): Parse {
  const is_raw = quote.startsWith("<");
  const stops = is_raw ? [quote] : [quote, "\\"];
  write('"');
  for (;;) {
    const stop = yield* input.until(stops, (text) => write(escaped(text)));
    if (stop === null) unfinished("the text ends in a string");
    if (stop === quote) break;
    input.skip(1);
    write(yield* readEscape(input));
  }
  input.skip(quote.length);
  write('"');
}

/** Behind the backslash. */
function* readEscape(input: Input): Parse<string> {
  const unit = yield* input.peek();
  if (unit === "") unfinished("the text ends in a string");
  input.skip(1);
  if ('"\\/bfnrt'.includes(unit)) return `\\${unit}`;
  if (unit === "'") return "'";
  if (unit === "\n") return ""; // in Python the line goes on
  const length = HEX_LENGTHS.get(unit);
  if (length === undefined) return `\\\\${escaped(unit)}`;
  let count = 0;
  const digits = yield* input.takeWhile((each) => /[\da-fA-F]/.test(each) && count++ < length);
  if (digits.length < length) {
    if ((yield* input.peek()) === "") unfinished("the text ends in a string");
    return `\\\\${unit}${digits}`;
  }
  const code = Number.parseInt(digits, 16);
  if (code > 0x10ffff) return `\\\\${unit}${digits}`;
  return unit === "u" ? `\\u${digits}` : escaped(String.fromCodePoint(code));
}

/** `\u` of JSON; `\x` and `\U` of Python. */
const HEX_LENGTHS: ReadonlyMap<string, number> = new Map([
  ["u", 4],
  ["x", 2],
  ["U", 8],
]);

function* readNumber(input: Input, write: Write): Parse {
  const text = yield* input.takeWhile((unit) => NUMBER_UNITS.test(unit));
  const number = JSON_NUMBER.test(text) ? text : plainNumber(text);
  if (number === null && (yield* input.peek()) === "") unfinished("the text ends in a number");
  write(number ?? malformed(`${text} is no number`));
}

/** `1_000`, `.5` and the like of Python. */
function plainNumber(text: string): string | null {
  const number = Number(text.replaceAll("_", ""));
  return Number.isFinite(number) && text !== "" ? String(number) : null;
}

/** A literal, or bare text, which is taken for a string. */
function* readWord(input: Input, write: Write): Parse {
  const word = yield* input.takeWhile((unit) => /[\w$-]/.test(unit));
  if (word === "") malformed("expected a value");
  if ((yield* input.peek()) === "" && !LITERALS.has(word)) unfinished("the text ends in a word");
  write(LITERALS.get(word) ?? JSON.stringify(word));
}
