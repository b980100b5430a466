/** The values that are not of a shape, as shapes. Knows no schema. */

import type { Budget } from "./budget.ts";
import { ANY_TEXT, difference, isEmpty } from "./language.ts";
import {
  ANY_ARRAY,
  ANY_OBJECT,
  ANY_STRING,
  ANY_VALUE,
  type ArrayShape,
  memberValue,
  type ObjectShape,
  type Shape,
  type Value,
} from "./shapes.ts";

/** `any`: a shape of each kind with all its values. `none`: no value. null: the opposite has no such form. */
export function negations(shape: Shape, any: readonly Shape[], none: Value, budget: Budget): readonly Shape[] | null {
  const own = any.find(({ kind }) => kind === shape.kind);
  const others = any.filter((other) => other !== own);
  const opposites = ownOpposites(shape, own, none, budget);
  return opposites === null ? null : [...others, ...opposites];
}

function ownOpposites(shape: Shape, own: Shape | undefined, none: Value, budget: Budget): readonly Shape[] | null {
  switch (shape.kind) {
    case "plain": {
      if (own?.kind !== "plain") return [];
      const language = difference(own.language, shape.language, budget);
      return isEmpty(language) ? [] : [{ kind: "plain", language }];
    }
    case "string": {
      const language = difference(ANY_TEXT, shape.language, budget);
      return [...(isEmpty(language) ? [] : [{ ...ANY_STRING, language }]), ...outsideBounds(ANY_STRING, shape)];
    }
    case "array":
      return arrayOpposites(shape);
    case "object":
      return objectOpposites(shape, none);
  }
}

function outsideBounds<Bounded extends { readonly min: number; readonly max: number | null }>(
  any: Bounded,
  { min, max }: { readonly min: number; readonly max: number | null },
): Bounded[] {
  return [...(min > 0 ? [{ ...any, max: min - 1 }] : []), ...(max === null ? [] : [{ ...any, min: max + 1 }])];
}

/** One for each schema in a value that may fail. */
function opposites(value: Value): Value[] {
  return value.map((number) => [-number]);
}

function arrayOpposites({ prefix, rest, min, max, contains }: ArrayShape): readonly Shape[] | null {
  const all: ArrayShape[] = outsideBounds(ANY_ARRAY, { min, max });
  for (const [place, value] of prefix.entries()) {
    const before = Array.from({ length: place }, () => ANY_VALUE);
    for (const opposite of opposites(value)) all.push({ ...ANY_ARRAY, prefix: [...before, opposite], min: place + 1 });
  }
  if (rest.length > 0) {
    // With places before it an item anywhere is not one of the rest.
    if (prefix.length > 0) {
      if (max !== null && max <= prefix.length) return all;
      return null;
    }
    for (const value of opposites(rest)) all.push({ ...ANY_ARRAY, contains: [{ value, min: 1, max: null }] });
  }
  for (const { value, min: least, max: most } of contains) {
    for (const bounds of outsideBounds({ min: 0, max: null }, { min: least, max: most })) {
      all.push({ ...ANY_ARRAY, contains: [{ value, ...bounds }] });
    }
  }
  return all;
}

function objectOpposites(shape: ObjectShape, none: Value): readonly Shape[] | null {
  const { names, regions, required, min, max } = shape;
  // "Some other key holds something else" has no form here.
  if (regions.some(({ value }) => value.length > 0)) return null;
  const all: ObjectShape[] = outsideBounds(ANY_OBJECT, { min, max });
  for (const name of required) all.push({ ...ANY_OBJECT, names: new Map([[name, none]]) });
  for (const [name] of names) {
    for (const opposite of opposites(memberValue(shape, name))) {
      all.push({ ...ANY_OBJECT, names: new Map([[name, opposite]]), required: new Set([name]) });
    }
  }
  return all;
}
