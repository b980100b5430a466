/** Says in one sentence how a request departs from its schema: which parameter, what was expected, what was found. */

import { type TSchema, Type } from "@sinclair/typebox";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import { nearest } from "../core/nearest.ts";

/** An option of a schema: values (of a literal) that exist but are not served yet; an expression for a whole kind of them. */
export function notYet(...values: (string | boolean | RegExp)[]) {
  return { [NOT_YET]: values };
}

const IS_LATER = Symbol("a property that is not supported yet");

/** A property that exists but is not served yet: null, which says nothing. */
export const LATER = Type.Null({ [IS_LATER]: true, description: "Not supported yet." });

/** An option of an array: what its items are called in a sentence. */
export function called(items: string) {
  return { [ITEMS]: items };
}

export function violation(errors: Iterable<ValueError>): Failure {
  const error = mostTelling(errors);
  if (error.path === "") return new Failure("invalid_request", `Cannot use the request: ${mismatch(error)}`);
  const name = cut(parameterName(error.path));
  if (error.type === ValueErrorType.ObjectAdditionalProperties) {
    return new Failure("invalid_request", `Cannot use "${name}": there is no such parameter${meant(error)}`, name);
  }
  if (IS_LATER in error.schema) {
    return new Failure("unsupported", `Cannot use "${name}": it is not supported yet`, name);
  }
  const expected = `expected ${expectation(error.schema)}`;
  if (error.type === ValueErrorType.ObjectRequiredProperty) {
    return new Failure("invalid_request", `Cannot use the request: "${name}" is missing, ${expected}`, name);
  }
  if (isLater(error.schema, error.value)) {
    const state = `${shown(error.value)} is not supported yet, ${expected}`;
    return new Failure("unsupported", `Cannot use "${name}": ${state}`, name);
  }
  return new Failure("invalid_request", `Cannot use "${name}": ${mismatch(error)}`, name);
}

/** The parameter that may be meant, unless it is one that is not served either. */
function meant({ path, schema }: ValueError): string {
  const properties: Readonly<Record<string, TSchema>> = schema["properties"] ?? {};
  const served = Object.keys(properties).filter((name) => !isUnserved(properties[name]));
  const name = nearest(keysOf(path).at(-1) ?? "", served);
  return name === null ? "" : `, there is "${name}"`;
}

function isUnserved(schema: TSchema | undefined): boolean {
  return schema !== undefined && IS_LATER in schema;
}

/** Symbols, so that they stay out of the OpenAPI document. */
const NOT_YET = Symbol("not supported yet");
const ITEMS = Symbol("what items are called");
/** A body of a million wrong items has a million errors; the first few tell enough. */
const ERRORS_READ_MAX = 64;
const SHOWN_CHARACTERS_MAX = 60;

/**
 * A wrong role or part type explains the other faults of its object, so it goes first; and what is not served yet explains
 * what is missing beside it.
 */
function mostTelling(errors: Iterable<ValueError>): ValueError {
  const read: ValueError[] = [];
  for (const error of errors) {
    // The value of a missing property is checked too: that says the same once more.
    if (error.value === undefined && error.type !== ValueErrorType.ObjectRequiredProperty) continue;
    read.push(innermost(error));
    if (read.length === ERRORS_READ_MAX) break;
  }
  const error = read.find(({ schema }) => isChoice(schema)) ?? read.find(({ schema }) => IS_LATER in schema) ?? read[0];
  assert(error !== undefined, "a refused value breaks a rule of its schema");
  return error;
}

/** Where only one member of a union can be meant, by the value's JSON type or by its tag, the fault is what that member says. */
function innermost(error: ValueError): ValueError {
  if (error.type !== ValueErrorType.Union || isChoice(error.schema)) return error;
  const type = jsonType(error.value);
  const members = membersOf(error.schema);
  const fitting = members.flatMap((member, index) => (takes(member, type) ? [{ member, index }] : []));
  const tag = tagOf(fitting.map(({ member }) => member));
  const found: unknown = tag === null ? undefined : Reflect.get(Object(error.value), tag);
  const [meant, another] = tag === null ? fitting : fitting.filter(({ member }) => isTagged(member, tag, found));
  if (tag !== null && meant === undefined)
    return wrongTag(
      error,
      tag,
      fitting.map(({ member }) => member),
    );
  const inner = meant === undefined || another !== undefined ? undefined : error.errors[meant.index];
  return inner === undefined ? error : mostTelling(inner);
}

/** The property by whose value several members are told apart. */
function tagOf(members: readonly TSchema[]): string | null {
  const [first, second] = members;
  if (first === undefined || second === undefined) return null;
  const names = Object.keys(first["properties"] ?? {});
  return names.find((name) => members.every((member) => tagValue(member, name) !== undefined)) ?? null;
}

/** A member whose tag may be left out is meant where there is none. */
function isTagged(member: TSchema, tag: string, found: unknown): boolean {
  return tagValue(member, tag) === found || (found === undefined && !member["required"]?.includes(tag));
}

function tagValue(member: TSchema, name: string): unknown {
  return member["properties"]?.[name]?.const;
}

function wrongTag(error: ValueError, tag: string, members: readonly TSchema[]): ValueError {
  const values = members.map((member) => member["properties"][tag]);
  const later: unknown = Reflect.get(error.schema, NOT_YET);
  const schema = { ...error.schema, anyOf: values, [NOT_YET]: later };
  const value: unknown = Reflect.get(Object(error.value), tag);
  const type = value === undefined ? ValueErrorType.ObjectRequiredProperty : ValueErrorType.Union;
  return { ...error, type, schema, path: `${error.path}/${tag}`, value };
}

function isLater(schema: TSchema, name: unknown): boolean {
  return membersOf(schema).some((member) => {
    const values: unknown = Reflect.get(member, NOT_YET) ?? Reflect.get(schema, NOT_YET);
    return Array.isArray(values) && values.some((value) => value === name || isOf(value, name));
  });
}

function isOf(kind: unknown, name: unknown): boolean {
  return kind instanceof RegExp && typeof name === "string" && kind.test(name);
}

function mismatch(error: ValueError): string {
  return `expected ${expectation(error.schema)}, found ${shown(error.value)}`;
}

function expectation(schema: TSchema): string {
  const all = new Set(membersOf(schema).flatMap((member) => expectationOfOne(member) ?? []));
  const words = [...all];
  const last = words.pop() ?? "nothing";
  return words.length === 0 ? last : `${words.join(", ")} or ${last}`;
}

/** null need not be mentioned: it is the same as leaving the parameter out. */
function expectationOfOne(schema: TSchema): string | null {
  if ("anyOf" in schema) return expectation(schema);
  if ("const" in schema) return JSON.stringify(schema["const"]);
  switch (schema["type"]) {
    case "string":
      return textOf(schema["minLength"], schema["maxLength"]);
    case "integer":
      return `an integer${range(schema["minimum"], schema["maximum"])}`;
    case "number":
      return `a number${range(schema["minimum"], schema["maximum"])}`;
    case "boolean":
      return "true or false";
    case "array":
      return arrayOf(Reflect.get(schema, ITEMS) ?? "items", schema["minItems"], schema["maxItems"]);
    case "object":
      return schema["minProperties"] === undefined ? "an object" : "an object that is not empty";
    default:
      return null;
  }
}

function textOf(minimum: number | undefined, maximum: number | undefined): string {
  if (maximum !== undefined) return `a text of ${minimum ?? 0} to ${maximum} characters`;
  return minimum === undefined ? "a text" : "a text that is not empty";
}

function range(minimum: number | undefined, maximum: number | undefined): string {
  if (minimum === undefined) return "";
  return maximum === undefined ? ` of at least ${minimum}` : ` from ${minimum} to ${maximum}`;
}

function arrayOf(items: string, minimum: number | undefined, maximum: number | undefined): string {
  if (minimum === undefined && maximum === undefined) return `an array of ${items}`;
  if (minimum === undefined) return `an array of at most ${maximum} ${items}`;
  return maximum === undefined
    ? `an array of ${items} that is not empty`
    : `an array of ${minimum} to ${maximum} ${items}`;
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.length === 1 ? "an array of 1 item" : `an array of ${value.length} items`;
  if (typeof value === "object" && value !== null) {
    return Object.keys(value).length === 0 ? "an empty object" : "an object";
  }
  return typeof value === "string" ? JSON.stringify(cut(value)) : String(value);
}

function cut(text: string): string {
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX).toWellFormed()}…` : text;
}

/** "/messages/0/role" is `messages[0].role`. */
function parameterName(pointer: string): string {
  const [first = "", ...rest] = keysOf(pointer);
  return first + rest.map((key) => (/^\d+$/.test(key) ? `[${key}]` : `.${key}`)).join("");
}

function keysOf(pointer: string): string[] {
  const keys = pointer.split("/").slice(1);
  return keys.map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** Of a union its members, of another schema itself. */
function membersOf(schema: TSchema): TSchema[] {
  return schema["anyOf"] ?? [schema];
}

function isChoice(schema: TSchema): boolean {
  return membersOf(schema).every((member) => "const" in member);
}

function takes(schema: TSchema, type: string): boolean {
  if ("anyOf" in schema) return membersOf(schema).some((member) => takes(member, type));
  return schema["type"] === type || (type === "number" && schema["type"] === "integer");
}

function jsonType(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
