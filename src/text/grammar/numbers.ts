/**
 * JSON's numbers as languages: one text for each value, without an exponent, and so few digits that two texts are never one
 * double. Knows no schema.
 */

import { Budget } from "./budget.ts";
import { choice, type Expression, literal, repeat, sequence } from "./expression.ts";
import { type Edge, intersection, type Language, matching, union } from "./language.ts";
import { parseRegex } from "./regex.ts";

/** Decimals that survive a double. */
const DIGITS_EXACT = 15;
/** 6.02e23 can be said, and 1.6e-19. */
const DIGITS_MAX = 30;
const LEADING_ZEROS_MAX = 25;

const INTEGER_SOURCE = `0|-?[1-9][0-9]{0,${DIGITS_MAX - 1}}`;
const FRACTION_SOURCE = [
  `-?0\\.0{0,${LEADING_ZEROS_MAX}}(?:[1-9]|[1-9][0-9]{0,${DIGITS_EXACT - 2}}[1-9])`,
  ...Array.from({ length: DIGITS_EXACT - 1 }, (_, index) => {
    return `-?[1-9][0-9]{${index}}\\.[0-9]{0,${DIGITS_EXACT - index - 2}}[1-9]`;
  }),
].join("|");

/** Nearly every schema needs both, and they take some 20 ms: made once. */
let known: { readonly integers: Language; readonly numbers: Language } | null = null;

export function allNumbers(): { readonly integers: Language; readonly numbers: Language } {
  const budget = new Budget("numbers");
  known ??= {
    integers: matching(parseRegex(INTEGER_SOURCE), budget),
    numbers: matching(parseRegex(`${INTEGER_SOURCE}|${FRACTION_SOURCE}`), budget),
  };
  return known;
}

/** A bound as digits; null when it has more than can be compared. */
interface Decimal {
  readonly negative: boolean;
  readonly whole: string;
  readonly fraction: string;
}

function decimalOf(value: number): Decimal | null {
  const text = plainText(value);
  if (text === null) return null;
  const [whole = "0", fraction = ""] = text.replace("-", "").split(".");
  return { negative: text.startsWith("-"), whole, fraction };
}

/** How `value` is written without an exponent; null when it has no such text here. */
export function plainText(value: number): string | null {
  if (value === 0) return "0";
  const [mantissa = "", exponent = "0"] = value.toExponential().replace("-", "").split("e");
  const digits = mantissa.replace(".", "");
  const point = 1 + Number(exponent.replace("+", "")) * (/e-/.test(value.toExponential()) ? -1 : 1);
  if (point > DIGITS_MAX || point < -LEADING_ZEROS_MAX) return null;
  const whole = point > 0 ? digits.slice(0, point).padEnd(point, "0") : "0";
  const fraction = point > 0 ? digits.slice(point) : "0".repeat(-point) + digits;
  return `${value < 0 ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Numbers of at least `bound`, or at most; `exclusive`: but not equal. null: the bound cannot be compared digit by digit. */
export function bounded(bound: number, side: "min" | "max", exclusive: boolean, budget: Budget): Language | null {
  const decimal = decimalOf(bound);
  if (decimal === null) return null;
  const { negative } = decimal;
  const digits = decimal.whole.replace(/^0$/, "").length + decimal.fraction.length;
  if (exclusive && digits > DIGITS_EXACT + 1) return null;
  const minus = literal("-");
  // On the bound's own side of zero magnitudes are compared; the other side is in or out as a whole.
  const outward = (side === "min") !== negative;
  const own = outward ? atLeast(decimal, exclusive) : atMost(decimal, exclusive);
  const any = magnitude();
  const parts: Expression[] = [negative ? sequence(minus, own) : own];
  if (side === "min" && negative) parts.push(any);
  if (side === "max" && !negative) parts.push(sequence(minus, any));
  return intersection(matching(choice(...parts), budget), allNumbers().numbers, budget);
}

const DIGIT = parseRegex("[0-9]");
const ANY_FRACTION = parseRegex("(?:\\.[0-9]+)?");

function magnitude(): Expression {
  return sequence(repeat(DIGIT, 1, null), ANY_FRACTION);
}

function digitsBetween(low: number, high: number): Expression {
  return parseRegex(low > high ? "[^\\s\\S]" : `[${low}-${high}]`);
}

/** Texts whose digits are beyond the bound's: `beyond` gives the digits at one place that are. */
function compared({ whole, fraction }: Decimal, beyond: (digit: number) => Expression): Expression[] {
  const parts: Expression[] = [];
  const digits = Array.from(whole + fraction, Number);
  const point = whole.length;
  for (const [place, digit] of digits.entries()) {
    const prefix = place < point ? whole.slice(0, place) : `${whole}.${fraction.slice(0, place - point)}`;
    const behind =
      place < point
        ? sequence(repeat(DIGIT, point - place - 1, point - place - 1), ANY_FRACTION)
        : repeat(DIGIT, 0, null);
    parts.push(sequence(literal(prefix), beyond(digit), behind));
  }
  return parts;
}

function atLeast(decimal: Decimal, exclusive: boolean): Expression {
  const { whole, fraction } = decimal;
  const longer = sequence(parseRegex("[1-9]"), repeat(DIGIT, whole.length, null), ANY_FRACTION);
  const higher = compared(decimal, (digit) => digitsBetween(digit + 1, 9));
  const text = `${whole}${fraction === "" ? "" : `.${fraction}`}`;
  const more = fraction === "" ? parseRegex("\\.[0-9]+") : repeat(DIGIT, 1, null);
  const further = sequence(literal(text), more);
  return choice(longer, ...higher, further, ...(exclusive ? [] : [literal(text)]));
}

function atMost(decimal: Decimal, exclusive: boolean): Expression {
  const { whole, fraction } = decimal;
  const shorter = sequence(repeat(DIGIT, 1, whole.length - 1), ANY_FRACTION);
  const lower = compared(decimal, (digit) => digitsBetween(0, digit - 1));
  const parts = [...lower, ...(whole.length > 1 ? [shorter] : [])];
  // The bound's own beginnings are below it: 3 and 3.1 below 3.14.
  for (let length = 0; length < fraction.length; length++) {
    parts.push(literal(length === 0 ? whole : `${whole}.${fraction.slice(0, length)}`));
  }
  if (!exclusive) parts.push(literal(`${whole}${fraction === "" ? "" : `.${fraction}`}`));
  return choice(...parts);
}

/** Multiples of a number with few digits; null when remainders cannot be counted. */
export function multiples(factor: number, budget: Budget): Language | null {
  const decimal = decimalOf(factor);
  if (decimal === null) return null;
  const scale = decimal.fraction.length;
  const modulus = Number(decimal.whole + decimal.fraction);
  if (modulus * (scale + 2) > MULTIPLE_STATES_MAX) return null;
  budget.spend(modulus * (scale + 2) * 10);
  const exact = matching(parseRegex(EXACT_SOURCE), budget);
  return intersection(exact, union(remainders(modulus, scale), matching(literal("0"), budget), budget), budget);
}

const MULTIPLE_STATES_MAX = 100_000;
const EXACT_SOURCE = `0|-?[1-9][0-9]{0,${DIGITS_EXACT - 1}}|${FRACTION_SOURCE}`;

/** Decimals whose digits, with `scale` of them behind the point, are a multiple of `modulus`. */
function remainders(modulus: number, scale: number): Language {
  // State 0 is the start; the others are a remainder and a place: 0 before the point, then 1 and one for each digit behind it.
  const state = (place: number, rest: number) => 1 + place * modulus + rest;
  const digitsTo = (place: number, rest: number): Edge[] =>
    Array.from({ length: 10 }, (_, digit) => {
      const code = 0x30 + digit;
      return { low: code, high: code, to: state(place, (rest * 10 + digit) % modulus) };
    });
  const edgesOf = (place: number, rest: number): Edge[] => {
    if (place === 0) return [{ low: 0x2e, high: 0x2e, to: state(1, rest) }, ...digitsTo(0, rest)];
    return place > scale ? [] : digitsTo(place + 1, rest);
  };
  const accepts = (place: number, rest: number): boolean => {
    const missing = place === 0 ? scale : scale + 1 - place;
    return place !== 1 && (rest * 10 ** missing) % modulus === 0;
  };
  const states = Array.from({ length: (scale + 2) * modulus }, (_, index) => {
    return [Math.floor(index / modulus), index % modulus] as const;
  });
  return {
    edges: [
      [{ low: 0x2d, high: 0x2d, to: 0 }, ...digitsTo(0, 0)],
      ...states.map(([place, rest]) => edgesOf(place, rest)),
    ],
    accepting: [false, ...states.map(([place, rest]) => accepts(place, rest))],
  };
}
