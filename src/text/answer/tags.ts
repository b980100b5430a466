/** Reads calls whose arguments stand in tags, each value as plain text: the tool's schema tells which are strings. */

import type { ToolDefinition } from "../../core/generation.ts";
import type { CallWriter } from "./call-writer.ts";
import { type Input, malformed, type Parse, unfinished } from "./input.ts";
import { escaped, LITERALS, readObject, toJson, type Write } from "./value.ts";

/** What a value may be. */
export type ValueKind = "string" | "nullable string" | "other" | "unknown";
export type KindOf = (key: string) => ValueKind;

/** `<function=name>` or `<invoke name="name">`, with `<parameter…>` in it, or with a JSON object. */
export function* readTagCall(input: Input, writer: CallWriter, tools: readonly ToolDefinition[]): Parse {
  const tag = yield* input.peekTag();
  const [, prefix = "", word = "", name] = CALL_TAG.exec(tag) ?? [];
  if (name === undefined) {
    if (input.isEnded && tag === "") unfinished("the text ends in a tag");
    malformed("expected a call");
  }
  input.skip(tag.length);
  writer.begin(name, null);
  yield* input.space();
  const close = `</${prefix}${word}>`;
  if (yield* input.startsWith("{")) {
    yield* readObject(input, writer.write);
    yield* input.space();
    yield* input.take(close);
    writer.end();
  } else yield* readParameters(input, writer, { prefix, close, kindOf: typesOf(name, tools) });
}

/** `<arg_key>key</arg_key><arg_value>value</arg_value>`, as often as there are arguments. */
export function* readPairs(input: Input, writer: CallWriter, kindOf: KindOf): Parse {
  const fields = new FieldWriter(writer.write);
  while (yield* input.take("<arg_key>")) {
    let key = "";
    const stop = yield* input.until(["</arg_key>"], (text) => {
      key += text;
    });
    if (stop === null) unfinished("the text ends in a key");
    input.skip(stop.length);
    yield* input.space();
    if (!(yield* input.take("<arg_value>"))) yield* missing(input, "<arg_value>");
    fields.begin(key.trim());
    const value = valueWriter(kindOf(key.trim()), writer.write, { drops_lines: false });
    const end = yield* input.until(["</arg_value>"], value.push);
    if (end === null) cutValue(value);
    input.skip(end.length);
    value.end();
    yield* input.space();
  }
  fields.end();
  writer.end();
}

/** Of the schema of the tool's parameters. */
export function typesOf(name: string, tools: readonly ToolDefinition[]): KindOf {
  const properties = tools.find((tool) => tool.name === name)?.parameters["properties"];
  return (key) => {
    const schema = isRecord(properties) ? properties[key] : undefined;
    const types = isRecord(schema) ? typesIn(schema) : [];
    if (types.length === 0) return "unknown";
    if (!types.includes("string")) return "other";
    return types.includes("null") ? "nullable string" : "string";
  };
}

const CALL_TAG = /^<((?:[a-z]+:|｜DSML｜)?)(function|invoke)(?:=|\s+name=)\s*"?([^"<>]+?)"?\s*>$/u;
const PARAMETER_TAG =
  /^<((?:[a-z]+:|｜DSML｜)?)parameter(?:=|\s+name=)\s*"?([^"<>]+?)"?(?:\s+string="(true|false)")?\s*>$/u;

interface TagCall {
  readonly prefix: string;
  readonly close: string;
  readonly kindOf: KindOf;
}

function* readParameters(input: Input, writer: CallWriter, { prefix, close, kindOf }: TagCall): Parse {
  const fields = new FieldWriter(writer.write);
  // A model may forget to close a parameter; the call's own end closes it too.
  const value_end = `</${prefix}parameter>`;
  const stops = [value_end, `<${prefix}parameter=`, `<${prefix}parameter name=`, close];
  for (;;) {
    yield* input.space();
    if (yield* input.take(close)) break;
    const parameter = yield* takeParameter(input, prefix);
    if (parameter === null) break;
    fields.begin(parameter.key);
    const kind = saidKind(parameter.is_string) ?? kindOf(parameter.key);
    const value = valueWriter(kind, writer.write, { drops_lines: true });
    const stop = yield* input.until(stops, value.push);
    if (stop === null) cutValue(value);
    if (stop === value_end) input.skip(stop.length);
    value.end();
  }
  fields.end();
  writer.end();
}

interface Parameter {
  readonly key: string;
  readonly is_string: string | undefined;
}

/** The tag that begins one; null if something else stands here. */
function* takeParameter(input: Input, prefix: string): Parse<Parameter | null> {
  const unit = yield* input.peek();
  if (unit === "") unfinished("the text ends before the end of the call");
  const tag = unit === "<" ? yield* input.peekTag() : "";
  if (input.isEnded && unit === "<" && tag === "") unfinished("the text ends in a tag");
  const [, own_prefix, key, is_string] = PARAMETER_TAG.exec(tag) ?? [];
  if (key === undefined || own_prefix !== prefix) return null;
  input.skip(tag.length);
  return { key, is_string };
}

function saidKind(is_string: string | undefined): ValueKind | null {
  return is_string === undefined ? null : is_string === "true" ? "string" : "other";
}

function* missing(input: Input, mark: string): Parse {
  if ((yield* input.peek()) === "") unfinished(`the text ends before "${mark}"`);
  malformed(`expected "${mark}"`);
}

/** An object's members, by and by. */
class FieldWriter {
  readonly #write: Write;
  #count = 0;

  constructor(write: Write) {
    this.#write = write;
  }

  begin(key: string): void {
    this.#write(`${this.#count === 0 ? "{" : ", "}${JSON.stringify(key)}: `);
    this.#count += 1;
  }

  end(): void {
    this.#write(this.#count === 0 ? "{}" : "}");
  }
}

interface ValueWriter {
  readonly push: (text: string) => void;
  /** The text ended in it; what was not written goes to a report. */
  cut(): void;
  end(): void;
}

function cutValue(value: ValueWriter): never {
  value.cut();
  return unfinished("the text ends in a value");
}

/**
 * Strings are written while they come, other values when they are whole. `drops_lines`: a line end around the value is
 * the tags'.
 */
function valueWriter(kind: ValueKind, write: Write, { drops_lines }: { drops_lines: boolean }): ValueWriter {
  if (kind !== "string") return wholeWriter(kind, write, drops_lines);
  let held = "";
  let is_begun = false;
  return {
    push: (text) => {
      let rest = held + text;
      held = "";
      if (!is_begun) {
        write('"');
        is_begun = true;
        if (drops_lines && rest.startsWith("\n")) rest = rest.slice(1);
      }
      if (drops_lines && rest.endsWith("\n")) {
        held = "\n";
        rest = rest.slice(0, -1);
      }
      if (rest !== "") write(escaped(rest));
    },
    cut: () => {
      if (held !== "") write(escaped(held));
    },
    end: () => write(is_begun ? '"' : '""'),
  };
}

function wholeWriter(kind: ValueKind, write: Write, drops_lines: boolean): ValueWriter {
  let whole = "";
  return {
    push: (text) => {
      whole += text;
    },
    cut: () => undefined,
    end: () => {
      const text = drops_lines ? whole.replace(/^\n/, "").replace(/\n$/, "") : whole;
      write(jsonOf(text, kind));
    },
  };
}

/** What a schema does not say, or a model does not keep to, is told by the text. */
function jsonOf(text: string, kind: ValueKind): string {
  const said = text.trim();
  const literal = LITERALS.get(said);
  if (literal !== undefined && (kind !== "nullable string" || literal === "null")) return literal;
  if (kind === "nullable string" || /^[\p{L}_][\w\p{L}$-]*$/u.test(said)) return JSON.stringify(text);
  const json = kind === "other" || /^["[{\d-]/.test(said) ? toJson(said) : null;
  return json ?? JSON.stringify(text);
}

/** The types that a schema names, as far as it names any. */
export function typesIn(schema: Readonly<Record<string, unknown>>): readonly string[] {
  const { type, anyOf, oneOf } = schema;
  if (typeof type === "string") return [type];
  if (Array.isArray(type)) return type.filter((each) => typeof each === "string");
  const choices = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : [];
  if (choices.length > 0) return choices.filter(isRecord).flatMap(typesIn);
  const values = Array.isArray(schema["enum"]) ? schema["enum"] : "const" in schema ? [schema["const"]] : [];
  return [...new Set(values.map((value) => (value === null ? "null" : typeof value)))];
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
