/** Sets of JSON values by their outer form, and how two such sets meet. What lies inside is named, not looked into. */

import type { Budget } from "./budget.ts";
import { ANY_TEXT, includes, intersection, isEmpty, type Language } from "./language.ts";

/**
 * All of these schemas at once, by number; a negative one must not hold. None: any value.
 * Sorted, each once.
 */
export type Value = readonly number[];

export interface PlainShape {
  readonly kind: "plain";
  /** The texts of null, booleans and numbers that are in. */
  readonly language: Language;
}

export interface StringShape {
  readonly kind: "string";
  readonly language: Language;
  readonly min: number;
  readonly max: number | null;
}

export interface Containment {
  readonly value: Value;
  readonly min: number;
  readonly max: number | null;
}

export interface ArrayShape {
  readonly kind: "array";
  readonly prefix: readonly Value[];
  readonly rest: Value;
  readonly min: number;
  readonly max: number | null;
  readonly contains: readonly Containment[];
}

/** Keys of one kind, and what they hold. */
export interface Region {
  readonly keys: Language;
  readonly value: Value;
  /** The schema speaks of them. */
  readonly is_said: boolean;
}

export interface ObjectShape {
  readonly kind: "object";
  /** In the order they are written. */
  readonly names: ReadonlyMap<string, Value>;
  /** Every key that is not a name is in exactly one. */
  readonly regions: readonly Region[];
  /** Names are what its author thought of: of other keys only those are written that the schema speaks of. */
  readonly is_listed: boolean;
  readonly required: ReadonlySet<string>;
  readonly min: number;
  readonly max: number | null;
}

export type Shape = PlainShape | StringShape | ArrayShape | ObjectShape;

export const ANY_VALUE: Value = [];
export const ANY_STRING: StringShape = { kind: "string", language: ANY_TEXT, min: 0, max: null };
export const ANY_ARRAY: ArrayShape = { kind: "array", prefix: [], rest: ANY_VALUE, min: 0, max: null, contains: [] };
export const ANY_OBJECT: ObjectShape = {
  kind: "object",
  names: new Map(),
  regions: [{ keys: ANY_TEXT, value: ANY_VALUE, is_said: false }],
  is_listed: false,
  required: new Set(),
  min: 0,
  max: null,
};

export function both(left: Value, right: Value): Value {
  if (left.length === 0) return right;
  return [...new Set([...left, ...right])].sort((a, b) => a - b);
}

/** What a name holds. */
export function memberValue({ names, regions }: ObjectShape, name: string): Value {
  return names.get(name) ?? regions.find(({ keys }) => includes(keys, name))?.value ?? ANY_VALUE;
}

/** What of an array stands at a place. */
export function valueAt({ prefix, rest }: ArrayShape, place: number): Value {
  return prefix[place] ?? rest;
}

/** The values that are in both; null when the outer forms have none in common. */
export function meet(left: Shape, right: Shape, budget: Budget): Shape | null {
  budget.spend(10);
  if (left.kind === "plain" && right.kind === "plain") {
    const language = intersection(left.language, right.language, budget);
    return isEmpty(language) ? null : { kind: "plain", language };
  }
  if (left.kind === "string" && right.kind === "string") return meetStrings(left, right, budget);
  if (left.kind === "array" && right.kind === "array") return meetArrays(left, right);
  if (left.kind === "object" && right.kind === "object") return meetObjects(left, right, budget);
  return null;
}

function meetStrings(left: StringShape, right: StringShape, budget: Budget): StringShape | null {
  const bounds = meetBounds(left, right);
  const language = intersection(left.language, right.language, budget);
  return bounds === null || isEmpty(language) ? null : { kind: "string", language, ...bounds };
}

function meetArrays(left: ArrayShape, right: ArrayShape): ArrayShape | null {
  const bounds = meetBounds(left, right);
  if (bounds === null) return null;
  const length = Math.max(left.prefix.length, right.prefix.length);
  const prefix = Array.from({ length }, (_, place) => both(valueAt(left, place), valueAt(right, place)));
  const contains = [...left.contains, ...right.contains];
  return { kind: "array", prefix, rest: both(left.rest, right.rest), ...bounds, contains };
}

function meetObjects(left: ObjectShape, right: ObjectShape, budget: Budget): ObjectShape | null {
  const bounds = meetBounds(left, right);
  if (bounds === null) return null;
  const all = new Set([...left.names.keys(), ...right.names.keys()]);
  const names = new Map([...all].map((name) => [name, both(memberValue(left, name), memberValue(right, name))]));
  const regions = left.regions.flatMap((a) =>
    right.regions.flatMap((b) => {
      const keys = intersection(a.keys, b.keys, budget);
      return isEmpty(keys) ? [] : [{ keys, value: both(a.value, b.value), is_said: a.is_said || b.is_said }];
    }),
  );
  const is_listed = left.is_listed || right.is_listed;
  const required = new Set([...left.required, ...right.required]);
  return { kind: "object", names, regions, is_listed, required, ...bounds };
}

interface Bounds {
  readonly min: number;
  readonly max: number | null;
}

function meetBounds(left: Bounds, right: Bounds): Bounds | null {
  const min = Math.max(left.min, right.min);
  const max = Math.min(left.max ?? Number.POSITIVE_INFINITY, right.max ?? Number.POSITIVE_INFINITY);
  if (min > max) return null;
  return { min, max: Number.isFinite(max) ? max : null };
}
