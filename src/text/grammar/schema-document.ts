/**
 * A JSON Schema as a document: where its parts are, and what their references name. Knows no keyword but those that
 * name things.
 */

import { Failure } from "../../core/failure.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** A schema and where it stands. */
export interface SchemaPart {
  readonly schema: Json;
  /** A JSON pointer from the root. */
  readonly pointer: string;
  /** What its references are relative to. */
  readonly base: string;
}

const ROOT_BASE = "schema:/root";
/** A document of 10 MB has some; beyond that nobody wrote it. */
const PARTS_MAX = 100_000;

export class SchemaDocument {
  readonly root: SchemaPart;
  /** By absolute address: with `$id` without a fragment, with an anchor behind "#". */
  readonly #named = new Map<string, SchemaPart>();

  constructor(schema: Json) {
    this.root = { schema, pointer: "", base: baseOf(schema, ROOT_BASE) };
    this.#named.set(ROOT_BASE, this.root);
    this.#scan();
  }

  child(part: SchemaPart, ...keys: string[]): SchemaPart {
    let { schema, pointer, base } = part;
    for (const key of keys) {
      schema = stepInto(schema, key) ?? null;
      pointer += `/${escaped(key)}`;
      base = baseOf(schema, base);
    }
    return { schema, pointer, base };
  }

  /** Throws a `Failure` when there is nothing in the document by that name. */
  resolve(part: SchemaPart, reference: string): SchemaPart {
    const address = absolute(reference, part.base);
    const [document = "", fragment = ""] = address === null ? [] : address.split("#");
    const named = this.#named.get(fragment === "" ? document : `${document}#${fragment}`);
    if (named !== undefined) return named;
    const owner = this.#named.get(document);
    const found = owner === undefined || !fragment.startsWith("/") ? null : this.#follow(owner, fragment);
    if (found !== null) return found;
    const state = `"${reference}" names nothing in it`;
    throw new Failure(
      "invalid_request",
      `Cannot enforce the schema: "$ref" at ${part.pointer || "its root"}: ${state}`,
    );
  }

  #follow(owner: SchemaPart, fragment: string): SchemaPart | null {
    let part = owner;
    for (const key of fragment.slice(1).split("/")) {
      const name = unescaped(key);
      if (stepInto(part.schema, name) === undefined) return null;
      part = this.child(part, name);
    }
    return part;
  }

  #scan(): void {
    const waiting = [this.root];
    for (let seen = 0; waiting.length > 0; seen++) {
      const part = waiting.pop();
      if (part === undefined || seen > PARTS_MAX) return;
      if (!isObject(part.schema)) continue;
      this.#name(part, part.schema);
      for (const path of schemasIn(part.schema)) waiting.push(this.child(part, ...path));
    }
  }

  #name(part: SchemaPart, schema: JsonObject): void {
    if (idOf(schema) !== null) this.#named.set(part.base, part);
    for (const keyword of ["$anchor", "$dynamicAnchor"]) {
      const anchor = schema[keyword];
      if (typeof anchor === "string") this.#named.set(`${part.base}#${anchor}`, part);
    }
    const id = schema["$id"] ?? schema["id"];
    if (typeof id === "string" && id.startsWith("#")) this.#named.set(`${part.base}${id}`, part);
  }
}

const HOLD_ONE = [
  "additionalItems",
  "additionalProperties",
  "contains",
  "else",
  "if",
  "items",
  "not",
  "propertyNames",
  "then",
  "unevaluatedItems",
  "unevaluatedProperties",
];
const HOLD_MANY = [
  "$defs",
  "allOf",
  "anyOf",
  "definitions",
  "dependencies",
  "dependentSchemas",
  "items",
  "oneOf",
  "patternProperties",
  "prefixItems",
  "properties",
];

/** Paths to the schemas in a schema. What an unknown keyword holds is none. */
function* schemasIn(schema: JsonObject): Generator<string[]> {
  for (const keyword of HOLD_ONE) if (isObject(schema[keyword])) yield [keyword];
  for (const keyword of HOLD_MANY) {
    const inner = schema[keyword];
    if (inner !== undefined && isContainer(inner)) for (const key of Object.keys(inner)) yield [keyword, key];
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isContainer(value: Json): value is JsonObject | readonly Json[] {
  return typeof value === "object" && value !== null;
}

function stepInto(value: Json, key: string): Json | undefined {
  if (!isContainer(value) || !Object.hasOwn(value, key)) return undefined;
  return (value as JsonObject)[key];
}

/** Draft 4 calls it `id`. */
function idOf(schema: Json): string | null {
  const id = isObject(schema) ? (schema["$id"] ?? schema["id"]) : null;
  return typeof id === "string" && !id.startsWith("#") ? id : null;
}

function baseOf(schema: Json, base: string): string {
  const id = idOf(schema);
  return (id === null ? null : absolute(id, base)?.split("#")[0]) ?? base;
}

function absolute(reference: string, base: string): string | null {
  try {
    const { href } = new URL(reference, base);
    return decodeURIComponent(href);
  } catch {
    return null;
  }
}

function escaped(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

function unescaped(key: string): string {
  return key.replaceAll("~1", "/").replaceAll("~0", "~");
}
