/** Regular languages over code points (or bytes), as deterministic automata that can be combined. Knows no notation. */

import { assert } from "../../core/assert.ts";
import type { Budget } from "./budget.ts";
import { ANY_CHARACTER, CODE_POINT_MAX, type Expression, repeat, sequence } from "./expression.ts";

export interface Edge {
  readonly low: number;
  readonly high: number;
  readonly to: number;
}

/**
 * State 0 is the start. Edges are sorted and apart; every state but the start of an empty language leads to an
 * accepting one.
 */
export interface Language {
  readonly edges: readonly (readonly Edge[])[];
  readonly accepting: readonly boolean[];
}

export const ANY_TEXT: Language = { edges: [[{ low: 0, high: CODE_POINT_MAX, to: 0 }]], accepting: [true] };
export const NO_TEXT: Language = { edges: [[]], accepting: [false] };

/** The texts that are a match from beginning to end. */
export function matching(expression: Expression, budget: Budget): Language {
  const machine = new Machine(budget);
  return determinize(machine, machine.add(expression, machine.accept), budget);
}

/** The texts that have a match somewhere. */
export function containing(expression: Expression, budget: Budget): Language {
  const anything = repeat(ANY_CHARACTER, 0, null);
  return matching(sequence(anything, expression, anything), budget);
}

export function texts(all: Iterable<string>, budget: Budget): Language {
  const edges: Edge[][] = [[]];
  const accepting = [false];
  const targets: Map<number, number>[] = [new Map()];
  for (const text of all) {
    let at = 0;
    for (const character of text) {
      budget.spend(1);
      const code = character.codePointAt(0) ?? 0;
      const known = targets[at]?.get(code);
      const to = known ?? edges.length;
      if (known === undefined) {
        targets[at]?.set(code, to);
        edges[at]?.push({ low: code, high: code, to });
        edges.push([]);
        accepting.push(false);
        targets.push(new Map());
      }
      at = to;
    }
    accepting[at] = true;
  }
  for (const own of edges) own.sort((a, b) => a.low - b.low);
  return { edges, accepting };
}

export function intersection(left: Language, right: Language, budget: Budget): Language {
  if (left === ANY_TEXT) return right;
  if (right === ANY_TEXT || left === right) return left;
  return combine(left, right, (a, b) => a && b, budget);
}

export function union(left: Language, right: Language, budget: Budget): Language {
  return combine(left, right, (a, b) => a || b, budget);
}

export function difference(left: Language, right: Language, budget: Budget): Language {
  return combine(left, right, (a, b) => a && !b, budget);
}

/** Of texts between so many characters long. */
export function ofLength(language: Language, min: number, max: number | null, budget: Budget): Language {
  if (min === 0 && max === null) return language;
  return intersection(language, matching(repeat(ANY_CHARACTER, min, max), budget), budget);
}

export function isEmpty(language: Language): boolean {
  return !language.accepting.includes(true);
}

export function includes(language: Language, text: string): boolean {
  let at = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const edge = language.edges[at]?.find(({ low, high }) => low <= code && code <= high);
    if (edge === undefined) return false;
    at = edge.to;
  }
  return language.accepting[at] ?? false;
}

/** `accept` of both nowhere is false. */
function combine(
  left: Language,
  right: Language,
  accept: (left: boolean, right: boolean) => boolean,
  budget: Budget,
): Language {
  const pairs: (readonly [number, number])[] = [[0, 0]];
  const places = new Map<number, number>([[pairKey(0, 0, right), 0]]);
  const edges: Edge[][] = [];
  const accepting: boolean[] = [];
  const place = (a: number, b: number): number | null => {
    if ((a < 0 && !accept(false, true)) || (b < 0 && !accept(true, false)) || (a < 0 && b < 0)) return null;
    const key = pairKey(a, b, right);
    const known = places.get(key);
    if (known !== undefined) return known;
    budget.spend(1);
    places.set(key, pairs.length);
    return pairs.push([a, b]) - 1;
  };
  for (let index = 0; index < pairs.length; index++) {
    const [a, b] = pairs[index] ?? [-1, -1];
    accepting.push(accept(left.accepting[a] ?? false, right.accepting[b] ?? false));
    const own: Edge[] = [];
    for (const [low, high, to_left, to_right] of overlay(left.edges[a] ?? [], right.edges[b] ?? [])) {
      const to = place(to_left, to_right);
      if (to !== null) own.push({ low, high, to });
    }
    budget.spend(own.length);
    edges.push(own);
  }
  return trim({ edges, accepting });
}

function pairKey(a: number, b: number, right: Language): number {
  return (a + 1) * (right.edges.length + 1) + b + 1;
}

/** Both lists cut where either has an end; -1 where one has no edge. */
function* overlay(left: readonly Edge[], right: readonly Edge[]): Generator<[number, number, number, number]> {
  const even = left.map((edge) => ({ ...edge, to: edge.to * 2 }));
  const odd = right.map((edge) => ({ ...edge, to: edge.to * 2 + 1 }));
  for (const { low, high, targets } of parted([...even, ...odd])) {
    const from_left = targets.find((to) => to % 2 === 0);
    const from_right = targets.find((to) => to % 2 === 1);
    yield [
      low,
      high,
      from_left === undefined ? -1 : from_left / 2,
      from_right === undefined ? -1 : (from_right - 1) / 2,
    ];
  }
}

/** Drops the states from which no text is accepted, and joins neighbouring edges. All states are reached from the start. */
function trim({ edges, accepting }: Language): Language {
  const sources: number[][] = edges.map(() => []);
  for (const [from, own] of edges.entries()) for (const { to } of own) sources[to]?.push(from);
  const alive = new Set(accepting.flatMap((accepts, state) => (accepts ? [state] : [])));
  for (const state of alive) for (const source of sources[state] ?? []) alive.add(source);
  if (!alive.has(0)) return NO_TEXT;
  const places = new Map([...alive].sort((a, b) => a - b).map((state, place) => [state, place]));
  const kept = [...places.keys()];
  const ownEdges = (state: number): Edge[] => {
    const own: Edge[] = [];
    for (const { low, high, to } of edges[state] ?? []) {
      const place = places.get(to);
      if (place === undefined) continue;
      const last = own.at(-1);
      if (last !== undefined && last.to === place && last.high + 1 === low)
        own.splice(-1, 1, { low: last.low, high, to: place });
      else own.push({ low, high, to: place });
    }
    return own;
  };
  return { edges: kept.map(ownEdges), accepting: kept.map((state) => accepting[state] ?? false) };
}

interface Place {
  readonly edges: readonly Edge[];
  /** Places that are reached without a character: always, at the very beginning, at the very end. */
  readonly always: number[];
  readonly at_begin: number[];
  readonly at_end: number[];
}

/** A nondeterministic automaton, built from its end. */
export class Machine {
  readonly places: Place[] = [];
  readonly accept: number;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
    this.accept = this.place([]);
  }

  place(edges: readonly Edge[], always: number[] = []): number {
    this.#budget.spend(1 + edges.length);
    return this.places.push({ edges, always, at_begin: [], at_end: [] }) - 1;
  }

  /** Where to begin so that a match of the expression leads to `next`. */
  add(expression: Expression, next: number): number {
    switch (expression.kind) {
      case "set":
        return this.place(expression.ranges.map(([low, high]) => ({ low, high, to: next })));
      case "sequence":
        return expression.parts.reduceRight((to, part) => this.add(part, to), next);
      case "choice":
        return this.place(
          [],
          expression.parts.map((part) => this.add(part, next)),
        );
      case "repeat":
        return this.#repeat(expression, next);
      case "begin":
      case "end": {
        const place = this.place([]);
        this.places[place]?.[expression.kind === "begin" ? "at_begin" : "at_end"].push(next);
        return place;
      }
    }
  }

  #repeat({ part, min, max }: Expression & { kind: "repeat" }, next: number): number {
    let to = next;
    if (max === null) {
      to = this.place([], [next]);
      this.places[to]?.always.unshift(this.add(part, to));
    } else {
      for (let count = min; count < max; count++) to = this.place([], [this.add(part, to), next]);
    }
    for (let count = 0; count < min; count++) to = this.add(part, to);
    return to;
  }
}

/** Whether characters were read, or must not be read any more. */
const BEGIN = 0;
const MIDDLE = 1;
const END = 2;
/** Nothing was read, and nothing may be. */
const EMPTY = 3;
const PHASES = 4;

/** The subsets of Rabin and Scott 1959, of places in their phases. */
export function determinize(machine: Machine, start: number, budget: Budget): Language {
  const sets: (readonly number[])[] = [];
  const known = new Map<string, number>();
  // Many edges lead to one place, and what is reached from there may be much.
  const known_seeds = new Map<string, number>();
  const edges: Edge[][] = [];
  const accepting: boolean[] = [];
  const state = (seeds: readonly number[]): number => {
    const name = seeds.join();
    const same = known_seeds.get(name);
    if (same !== undefined) return same;
    const members = reach(machine, seeds, budget);
    const key = members.join();
    const found = known.get(key) ?? sets.length;
    known.set(key, found);
    known_seeds.set(name, found);
    if (found === sets.length) sets.push(members);
    return found;
  };
  state([start * PHASES + BEGIN]);
  for (let index = 0; index < sets.length; index++) {
    const members = sets[index];
    assert(members !== undefined, "a state has a set");
    accepting.push(members.some((member) => Math.floor(member / PHASES) === machine.accept));
    const open = members.filter((member) => member % PHASES <= MIDDLE);
    const all = open.flatMap((member) => machine.places[Math.floor(member / PHASES)]?.edges ?? []);
    const own: Edge[] = [];
    for (const { low, high, targets } of parted(all)) {
      budget.spend(targets.length);
      own.push({ low, high, to: state(targets.map((target) => target * PHASES + MIDDLE)) });
    }
    edges.push(own);
  }
  return trim({ edges, accepting });
}

/** Everything reached without a character, in order. */
function reach(machine: Machine, seeds: readonly number[], budget: Budget): readonly number[] {
  const members = new Set(seeds);
  for (const member of members) {
    const place = machine.places[Math.floor(member / PHASES)];
    assert(place !== undefined, "a member has a place");
    for (const next of movesFrom(place, member % PHASES)) members.add(next);
  }
  budget.spend(members.size);
  return [...members].sort((a, b) => a - b);
}

function* movesFrom({ always, at_begin, at_end }: Place, phase: number): Generator<number> {
  for (const to of always) yield to * PHASES + phase;
  const ended = phase === MIDDLE || phase === END ? END : EMPTY;
  for (const to of at_end) yield to * PHASES + ended;
  if (phase === BEGIN || phase === EMPTY) for (const to of at_begin) yield to * PHASES + phase;
}

interface Parted {
  readonly low: number;
  readonly high: number;
  readonly targets: readonly number[];
}

/** Overlapping edges cut into pieces, each with all its targets in order. */
function* parted(edges: readonly Edge[]): Generator<Parted> {
  const ends = new Map<number, { begin: number[]; end: number[] }>();
  const at = (point: number) => {
    const entry = ends.get(point) ?? { begin: [], end: [] };
    ends.set(point, entry);
    return entry;
  };
  for (const { low, high, to } of edges) {
    at(low).begin.push(to);
    at(high + 1).end.push(to);
  }
  const open = new Map<number, number>();
  const points = [...ends.keys()].sort((a, b) => a - b);
  for (const [index, low] of points.entries()) {
    const { begin, end } = at(low);
    for (const to of begin) open.set(to, (open.get(to) ?? 0) + 1);
    for (const to of end) {
      const left = (open.get(to) ?? 0) - 1;
      if (left === 0) open.delete(to);
      else open.set(to, left);
    }
    const next = points[index + 1];
    if (next !== undefined && open.size > 0) {
      yield { low, high: next - 1, targets: [...open.keys()].sort((a, b) => a - b) };
    }
  }
}
