/** Regular expressions as trees. Knows neither their notation nor how they are matched. */

/** Code points from and to, both inside; sorted and apart. */
export type Ranges = readonly (readonly [low: number, high: number])[];

export type Expression =
  | { readonly kind: "set"; readonly ranges: Ranges }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "choice"; readonly parts: readonly Expression[] }
  | { readonly kind: "repeat"; readonly part: Expression; readonly min: number; readonly max: number | null }
  /** Nothing stands before, or behind. */
  | { readonly kind: "begin" }
  | { readonly kind: "end" };

export const CODE_POINT_MAX = 0x10ffff;

export const ANY_CHARACTER: Expression = { kind: "set", ranges: [[0, CODE_POINT_MAX]] };

export function literal(text: string): Expression {
  return { kind: "sequence", parts: Array.from(text, (character) => one(character.codePointAt(0) ?? 0)) };
}

export function one(code: number): Expression {
  return { kind: "set", ranges: [[code, code]] };
}

export function sequence(...parts: Expression[]): Expression {
  return { kind: "sequence", parts };
}

export function choice(...parts: Expression[]): Expression {
  return { kind: "choice", parts };
}

export function repeat(part: Expression, min: number, max: number | null): Expression {
  return { kind: "repeat", part, min, max };
}

export function united(ranges: Iterable<readonly [number, number]>): Ranges {
  const joined: [number, number][] = [];
  for (const [low, high] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last !== undefined && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else joined.push([low, high]);
  }
  return joined;
}

export function outside(ranges: Ranges): Ranges {
  const rest: [number, number][] = [];
  let next = 0;
  for (const [low, high] of ranges) {
    if (low > next) rest.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= CODE_POINT_MAX) rest.push([next, CODE_POINT_MAX]);
  return rest;
}
