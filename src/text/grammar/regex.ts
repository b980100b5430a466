/** Reads the regular expressions of ECMAScript, as far as a finite automaton matches them. Knows no schema. */

import { CODE_POINT_MAX, type Expression, one, outside, type Ranges, united } from "./expression.ts";

/** What an expression uses that cannot be enforced; the message says what. */
export class RegexError extends Error {}

export function parseRegex(source: string): Expression {
  return new Parser(source).parse();
}

// More copies of a part than this are better written otherwise.
const REPEAT_MAX = 10_000;

const DIGIT: Ranges = [[0x30, 0x39]];
const WORD: Ranges = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const SPACE: Ranges = united([
  [0x9, 0xd],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]);
const LINE_ENDS: Ranges = [
  [0xa, 0xa],
  [0xd, 0xd],
  [0x2028, 0x2029],
];

const CLASSES: ReadonlyMap<string, Ranges> = new Map([
  ["d", DIGIT],
  ["D", outside(DIGIT)],
  ["w", WORD],
  ["W", outside(WORD)],
  ["s", SPACE],
  ["S", outside(SPACE)],
]);

const CONTROLS: ReadonlyMap<string, number> = new Map([
  ["t", 0x9],
  ["n", 0xa],
  ["v", 0xb],
  ["f", 0xc],
  ["r", 0xd],
  ["0", 0x0],
]);

class Parser {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(source: string) {
    this.#characters = Array.from(source);
  }

  parse(): Expression {
    const expression = this.#choice();
    if (this.#at < this.#characters.length) throw this.#error(`"${this.#peek()}" has no beginning`);
    return expression;
  }

  #choice(): Expression {
    const parts = [this.#sequence()];
    while (this.#take("|")) parts.push(this.#sequence());
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: "choice", parts };
  }

  #sequence(): Expression {
    const parts: Expression[] = [];
    while (this.#at < this.#characters.length && this.#peek() !== "|" && this.#peek() !== ")") {
      parts.push(this.#quantified());
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: "sequence", parts };
  }

  #quantified(): Expression {
    const part = this.#atom();
    const bounds = this.#bounds();
    if (bounds === null) return part;
    if (part.kind === "begin" || part.kind === "end") throw this.#error("nothing to repeat");
    this.#take("?"); // as few as possible: the same texts match
    return { kind: "repeat", part, ...bounds };
  }

  #bounds(): { min: number; max: number | null } | null {
    if (this.#take("*")) return { min: 0, max: null };
    if (this.#take("+")) return { min: 1, max: null };
    if (this.#take("?")) return { min: 0, max: 1 };
    const found = /^\{(\d+)(,?)(\d*)\}/.exec(this.#rest(24));
    if (found === null) return null;
    this.#at += found[0].length;
    const min = Number(found[1]);
    const max = found[3] !== "" ? Number(found[3]) : found[2] === "," ? null : min;
    if (Math.max(min, max ?? 0) > REPEAT_MAX) throw this.#error(`more than ${REPEAT_MAX} repetitions`);
    if (max !== null && max < min) throw this.#error(`the repetition ${found[0]}`);
    return { min, max };
  }

  #atom(): Expression {
    const character = this.#next();
    switch (character) {
      case "^":
        return { kind: "begin" };
      case "$":
        return { kind: "end" };
      case ".":
        return { kind: "set", ranges: outside(LINE_ENDS) };
      case "(":
        return this.#group();
      case "[":
        return { kind: "set", ranges: this.#characterClass() };
      case "\\":
        return this.#escape();
      case "*":
      case "+":
      case "?":
        throw this.#error("nothing to repeat");
      default:
        return one(character.codePointAt(0) ?? 0);
    }
  }

  #group(): Expression {
    const head = /^\?(?::|<[A-Za-z_$][\w$]*>|<?[=!])/.exec(this.#rest(80))?.[0] ?? "";
    if (/[=!]$/.test(head)) throw this.#error(`"(${head}", which looks around`);
    if (head === "" && this.#peek() === "?") throw this.#error(`the group "(${this.#rest(3)}"`);
    this.#at += head.length;
    const inner = this.#choice();
    if (!this.#take(")")) throw this.#error('"(" has no end');
    return inner;
  }

  #escape(): Expression {
    const character = this.#peek();
    if (character === "b" || character === "B") throw this.#error(`"\\${character}", which looks around`);
    if (/[1-9k]/.test(character)) throw this.#error(`"\\${character}", which refers back`);
    return { kind: "set", ranges: this.#escaped() };
  }

  /** After a backslash: what may stand in a class too. */
  #escaped(): Ranges {
    const character = this.#next();
    const known = CLASSES.get(character);
    if (known !== undefined) return known;
    if (character === "p" || character === "P") return this.#property(character === "P");
    const code = this.#escapedCode(character);
    return [[code, code]];
  }

  #escapedCode(character: string): number {
    const control = CONTROLS.get(character);
    if (control !== undefined) return control;
    switch (character) {
      case "x":
        return this.#hex(/^[0-9a-fA-F]{2}/);
      case "u":
        return this.#unicode();
      case "c":
        return (this.#next().codePointAt(0) ?? 0) % 32;
    }
    if (/[a-zA-Z0-9]/.test(character)) throw this.#error(`"\\${character}", which is not known`);
    return character.codePointAt(0) ?? 0;
  }

  #unicode(): number {
    if (this.#peek() === "{") {
      this.#at += 1;
      const code = this.#hex(/^[0-9a-fA-F]{1,6}(?=\})/);
      this.#at += 1;
      return Math.min(code, CODE_POINT_MAX);
    }
    const code = this.#hex(/^[0-9a-fA-F]{4}/);
    const low = /^\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(this.#rest(6))?.[1];
    if (code < 0xd800 || code > 0xdbff || low === undefined) return code;
    this.#at += 6;
    return 0x10000 + ((code - 0xd800) << 10) + (Number.parseInt(low, 16) - 0xdc00);
  }

  #hex(form: RegExp): number {
    const digits = form.exec(this.#rest(8))?.[0];
    if (digits === undefined) throw this.#error("an escape without its digits");
    this.#at += digits.length;
    return Number.parseInt(digits, 16);
  }

  #property(negated: boolean): Ranges {
    const name = /^\{([\w=]+)\}/.exec(this.#rest(80))?.[1];
    if (name === undefined) throw this.#error('"\\p" without a name');
    this.#at += name.length + 2;
    const ranges = rangesOfProperty(name);
    if (ranges === null) throw this.#error(`the property "${name}", which is not known`);
    return negated ? outside(ranges) : ranges;
  }

  #characterClass(): Ranges {
    const negated = this.#take("^");
    const ranges: (readonly [number, number])[] = [];
    while (!this.#take("]")) {
      const low = this.#classMember();
      const [first] = low;
      const is_range = this.#peek() === "-" && this.#characters[this.#at + 1] !== "]";
      if (!is_range || first === undefined || low.length > 1 || first[0] !== first[1]) {
        ranges.push(...low);
        continue;
      }
      this.#at += 1;
      const high = this.#classMember();
      const [last] = high;
      const is_one = last !== undefined && high.length === 1 && last[0] === last[1];
      if (!is_one) ranges.push(first, [0x2d, 0x2d], ...high);
      else if (last[0] < first[0]) throw this.#error("a range that runs backwards");
      else ranges.push([first[0], last[0]]);
    }
    return negated ? outside(united(ranges)) : united(ranges);
  }

  #classMember(): Ranges {
    const character = this.#next('"[" has no end');
    if (character !== "\\") {
      const code = character.codePointAt(0) ?? 0;
      return [[code, code]];
    }
    if (this.#take("b")) return [[0x8, 0x8]];
    return this.#escaped();
  }

  #peek(): string {
    return this.#characters[this.#at] ?? "";
  }

  #next(otherwise = "it ends too soon"): string {
    const character = this.#characters[this.#at];
    if (character === undefined) throw this.#error(otherwise);
    this.#at += 1;
    return character;
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at += 1;
    return true;
  }

  #rest(length: number): string {
    return this.#characters.slice(this.#at, this.#at + length).join("");
  }

  #error(what: string): RegexError {
    return new RegexError(`${what}, at character ${this.#at}`);
  }
}

const PROPERTIES = new Map<string, Ranges>();

/** Asks the runtime about every code point, once. */
function rangesOfProperty(name: string): Ranges | null {
  const known = PROPERTIES.get(name);
  if (known !== undefined) return known;
  let runs: RegExp;
  try {
    runs = new RegExp(`\\p{${name}}+`, "gu");
  } catch {
    return null;
  }
  const found: [number, number][] = [];
  for (const [first, last] of PLANES) {
    const text = charactersBetween(first, last);
    const units = first > 0xffff ? 2 : 1;
    for (const { 0: run, index } of text.matchAll(runs)) {
      const low = first + index / units;
      found.push([low, low + run.length / units - 1]);
    }
  }
  const ranges = united(found);
  PROPERTIES.set(name, ranges);
  return ranges;
}

/** Code points of one length in UTF-16, without surrogates. */
const PLANES = [
  [0x0, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, CODE_POINT_MAX],
] as const;

function charactersBetween(first: number, last: number): string {
  let text = "";
  for (let code = first; code <= last; code++) text += String.fromCodePoint(code);
  return text;
}
