/** Schemas with instances that satisfy them or do not, and how an instance may be written. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../root.ts";

const FOLDER = join(ROOT, "../shared/data/json-schema");

export interface SchemaCase {
  readonly name: string;
  readonly schema: unknown;
  readonly instances: readonly { readonly data: unknown; readonly valid: boolean }[];
}

export function suiteCases(): SchemaCase[] {
  const folder = join(FOLDER, "draft2020-12");
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".json"))
    .sort()
    .flatMap((file) => {
      const groups: { description: string; schema: unknown; tests: { data: unknown; valid: boolean }[] }[] = JSON.parse(
        readFileSync(join(folder, file), "utf8"),
      );
      return groups.map(({ description, schema, tests }) => ({
        name: `${file}: ${description}`,
        schema,
        instances: tests,
      }));
    });
}

export function sampleCases(): SchemaCase[] {
  const lines = readFileSync(join(FOLDER, "sample.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => {
    const { name, schema, tests } = JSON.parse(line);
    return { name, schema, instances: tests };
  });
}

/** The texts of a value: with its keys as they stand, as the schema lists them, and in some other orders. */
export function writings(value: unknown, schema: unknown): ReadonlySet<string> {
  return new Set(allWritings(value, schema));
}

function* allWritings(value: unknown, schema: unknown): Generator<string> {
  yield write(value);
  const listed = new Map([...listedNames(schema)].map((name, place) => [name, place]));
  yield write(inOrder(value, listed));
  let left = ORDERS_MAX;
  for (const ordered of orders(value)) {
    if (left-- === 0) return;
    yield write(ordered);
  }
}

const ORDERS_MAX = 60;

/** JSON without exponents. */
function write(value: unknown): string {
  if (typeof value === "number" && /e/.test(String(value))) return plain(value);
  if (Array.isArray(value)) return `[${value.map(write).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${entriesOf(value)
    .map(([key, inner]) => `${JSON.stringify(key)}:${write(inner)}`)
    .join()}}`;
}

function plain(value: number): string {
  if (Number.isInteger(value)) return BigInt(value).toString();
  return value.toFixed(40).replace(/0+$/, "");
}

/** An object whose keys are in an order of their own: a plain one puts numbers first. */
class Ordered {
  readonly entries: readonly (readonly [string, unknown])[];

  constructor(entries: readonly (readonly [string, unknown])[]) {
    this.entries = entries;
  }
}

function entriesOf(value: object): readonly (readonly [string, unknown])[] {
  return value instanceof Ordered ? value.entries : Object.entries(value);
}

export function* listedNames(schema: unknown): Generator<string> {
  if (typeof schema !== "object" || schema === null) return;
  for (const [key, inner] of Object.entries(schema)) {
    if (key === "properties") yield* Object.keys(inner ?? {});
    yield* listedNames(inner);
  }
  if ("required" in schema && Array.isArray(schema.required)) yield* schema.required;
}

function inOrder(value: unknown, listed: ReadonlyMap<string, number>): unknown {
  if (Array.isArray(value)) return value.map((inner) => inOrder(inner, listed));
  if (typeof value !== "object" || value === null) return value;
  const rank = (key: string) => listed.get(key) ?? Number.POSITIVE_INFINITY;
  const entries = Object.entries(value).map(([key, inner]): [string, unknown] => [key, inOrder(inner, listed)]);
  return new Ordered(entries.sort(([a], [b]) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b))));
}

function* orders(value: unknown): Generator<unknown> {
  if (Array.isArray(value)) {
    for (const items of product(value.map((inner) => [...taken(orders(inner), 6)]))) yield items;
    return;
  }
  if (typeof value !== "object" || value === null) return yield value;
  const entries = Object.entries(value);
  for (const keys of permutations(entries.map(([key]) => key))) {
    const inner = keys.map((key) => [...taken(orders((value as Record<string, unknown>)[key]), 6)]);
    for (const values of product(inner)) yield new Ordered(keys.map((key, place) => [key, values[place]]));
  }
}

function* taken<Item>(items: Iterable<Item>, count: number): Generator<Item> {
  let left = count;
  for (const item of items) {
    if (left-- === 0) return;
    yield item;
  }
}

function* permutations(keys: readonly string[]): Generator<string[]> {
  if (keys.length === 0) yield [];
  for (const [place, key] of keys.entries()) {
    for (const rest of permutations(keys.toSpliced(place, 1))) yield [key, ...rest];
  }
}

function* product(lists: readonly (readonly unknown[])[]): Generator<unknown[]> {
  const [first, ...rest] = lists;
  if (first === undefined) return yield [];
  for (const tail of product(rest)) for (const item of first) yield [item, ...tail];
}
