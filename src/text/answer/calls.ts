/** Reads tool calls between their marks, whatever form they are written in. Knows no chat template and no content. */

import type { ToolDefinition } from "../../core/generation.ts";
import type { CallWriter } from "./call-writer.ts";
import { type CallMarks, HEADER_MARKS } from "./formats.ts";
import { type Input, malformed, NotACall, type Parse, unfinished } from "./input.ts";
import { readPairs, readTagCall, typesOf } from "./tags.ts";
import { readItems, readKey, readObject, readSeparator, readValue, toJson } from "./value.ts";

export interface CallOptions {
  readonly tools: readonly ToolDefinition[];
  readonly names_are_keys: boolean;
}

/** Behind the opening mark. */
export function* readCalls(input: Input, marks: CallMarks, writer: CallWriter, options: CallOptions): Parse {
  const list: List = { before: writer.count, depth: 0, is_expected: true };
  for (;;) {
    const next = yield* nextPart(input, marks, writer, list);
    if (next === "content") return;
    if (next === "end") return input.settle();
    if (next === "between") continue;
    yield* readCall(input, marks, writer, options);
    list.is_expected = false;
  }
}

/** Takes what is no call: the mark at the end, or what stands between two calls. */
function* nextPart(input: Input, marks: CallMarks, writer: CallWriter, list: List): Parse<Part> {
  yield* input.space();
  if ((yield* input.takeAny(marks.closes)) !== null) return "end";
  const unit = yield* input.peek();
  const is_first = writer.count === list.before;
  if (unit === "" && is_first) unfinished("the text ends before a call");
  if (unit === "") return "end";
  if (yield* takeBetween(input, marks)) {
    list.is_expected = true;
    return "between";
  }
  if (takeBracket(input, unit, list, marks)) {
    return unit === "]" && list.depth === 0 && marks.closes.length === 0 ? "end" : "between";
  }
  if (unit === "}" && !is_first) {
    input.skip(1); // models close one brace too many
    writer.ignore(unit);
    return "between";
  }
  if (yield* isCutMark(input, marks)) return "end";
  // Where no mark closes the calls, other text does.
  const may_be_content = !is_first && !list.is_expected && marks.closes.length === 0;
  return may_be_content && !(yield* beginsCall(input)) ? "content" : "call";
}

type Part = "call" | "between" | "end" | "content";

interface List {
  /** Calls that came before these. */
  readonly before: number;
  /** Of brackets. */
  depth: number;
  /** A mark or a comma promises a call. */
  is_expected: boolean;
}

/** Brackets and commas of a list of calls. */
function takeBracket(input: Input, unit: string, list: List, marks: CallMarks): boolean {
  const is_separator = SEPARATORS.includes(unit) && (list.depth > 0 || marks.closes.length > 0);
  const is_end = unit === "]" && list.depth > 0;
  if (unit !== "[" && !is_separator && !is_end) return false;
  if (unit === "[") list.depth += 1;
  if (is_end) list.depth -= 1;
  list.is_expected = !is_end;
  input.skip(1);
  return true;
}

/** `{"name": …, "arguments": …}` and its relatives. */
export function* readCallObject(input: Input, writer: CallWriter, options: CallOptions, is_strict: boolean): Parse {
  const call: ObjectCall = { name: null, id: null, held: "", has_arguments: false, is_begun: false };
  input.skip(1);
  try {
    yield* readItems(
      input,
      () => undefined,
      "}",
      () => readMember(input, writer, options, call, is_strict),
    );
  } catch (trouble) {
    const is_cut = trouble instanceof NotACall && trouble.trouble === "unfinished";
    if (is_cut && !call.is_begun && call.name !== null) writer.beginCut(call.name, call.id);
    throw trouble;
  }
  if (call.name === null) malformed("a call without a name");
  beginObjectCall(writer, call);
  if (!call.has_arguments) writer.write("{}");
  writer.end(call.id);
}

interface ObjectCall {
  name: string | null;
  id: string | null;
  /** Arguments that came before the name. */
  held: string;
  has_arguments: boolean;
  is_begun: boolean;
}

const NAME_KEYS: ReadonlySet<string> = new Set(["name", "tool_name"]);
const ID_KEYS: ReadonlySet<string> = new Set(["id", "tool_call_id", "call_id"]);
const ARGUMENT_KEYS: ReadonlySet<string> = new Set(["arguments", "parameters", "args", "input"]);
/** What a call's other members say when they say nothing. */
const SILENT_MEMBER = /^"type": "function"$|^"index": \d+$/;

function* takeBetween(input: Input, marks: CallMarks): Parse<boolean> {
  return (
    (yield* input.takeAny([...marks.opens.filter((open) => !open.endsWith("=")), ...marks.between, ...FENCES])) !== null
  );
}

const SEPARATORS = ",;";
/** Models put their JSON into code blocks. */
const FENCES = ["```json", "```"];
const HEADER_PARTS = [...HEADER_MARKS, ...FENCES];

/** A call may follow another without a mark: objects and tags cannot be mistaken for content. */
function* beginsCall(input: Input): Parse<boolean> {
  for (const begin of ['{"', "<function=", "<invoke "]) if (yield* input.startsWith(begin)) return true;
  return false;
}

/** The text was cut inside a mark. */
function* isCutMark(input: Input, marks: CallMarks): Parse<boolean> {
  const all = [...marks.closes, ...marks.between, ...marks.opens];
  for (const mark of all) yield* input.startsWith(mark);
  const rest = input.unread();
  if (!input.isEnded || !all.some((mark) => mark.startsWith(rest))) return false;
  input.skip(rest.length);
  return true;
}

function* readCall(input: Input, marks: CallMarks, writer: CallWriter, options: CallOptions): Parse {
  const unit = yield* input.peek();
  if (unit === "{") yield* readCallObject(input, writer, options, false);
  else if (unit === "<") yield* readTagCall(input, writer, options.tools);
  else yield* readNamedCall(input, marks, writer, options);
}

function* readMember(
  input: Input,
  writer: CallWriter,
  options: CallOptions,
  call: ObjectCall,
  is_strict: boolean,
): Parse {
  const key = yield* readKeyText(input);
  yield* readSeparator(input, () => undefined);
  yield* input.space();
  const is_object = (yield* input.peek()) === "{";
  if (NAME_KEYS.has(key) || (key === "function" && !is_object)) {
    const name = yield* readTextValue(input);
    if (name === "" || (is_strict && !isKnown(name, options))) malformed(`no tool is named "${name}"`);
    call.name = name;
  } else if (ID_KEYS.has(key)) call.id = yield* readTextValue(input);
  else if (key === "function") {
    input.skip(1);
    yield* readItems(
      input,
      () => undefined,
      "}",
      () => readMember(input, writer, options, call, is_strict),
    );
  } else if (ARGUMENT_KEYS.has(key)) yield* readObjectArguments(input, writer, call);
  else if (options.names_are_keys && call.name === null) {
    call.name = key;
    yield* readObjectArguments(input, writer, call);
  } else yield* readForeign(input, writer, key, is_strict);
}

function* readForeign(input: Input, writer: CallWriter, key: string, is_strict: boolean): Parse {
  if (is_strict && key !== "type") malformed(`a call has no "${key}"`);
  let value = "";
  yield* readValue(input, (json) => {
    value += json;
  });
  const member = `${JSON.stringify(key)}: ${value}`;
  if (!SILENT_MEMBER.test(member)) writer.ignore(member);
}

function* readObjectArguments(input: Input, writer: CallWriter, call: ObjectCall): Parse {
  call.has_arguments = true;
  if (call.name !== null && (yield* input.peek()) === "{") beginObjectCall(writer, call);
  const write = call.is_begun
    ? writer.write
    : (json: string) => {
        call.held += json;
      };
  yield* readArguments(input, write);
}

function beginObjectCall(writer: CallWriter, call: ObjectCall): void {
  if (call.is_begun || call.name === null) return;
  call.is_begun = true;
  writer.begin(call.name, call.id);
  if (call.held !== "") writer.write(call.held);
}

/** An object; or one that was put into a string, or none. */
export function* readArguments(input: Input, write: (json: string) => void): Parse {
  yield* input.space();
  const unit = yield* input.peek();
  if (unit === "{") return yield* readObject(input, write);
  if (unit === "") unfinished("the text ends before the arguments");
  let value = "";
  yield* readValue(input, (json) => {
    value += json;
  });
  const inner = value.startsWith('"') ? toJson(JSON.parse(value)) : value === "null" ? "{}" : null;
  if (inner === null || !inner.startsWith("{")) malformed("the arguments are no object");
  write(inner);
}

function* readKeyText(input: Input): Parse<string> {
  let json = "";
  yield* readKey(input, (part) => {
    json += part;
  });
  return JSON.parse(json);
}

/** Numbers too: some models number their calls. */
function* readTextValue(input: Input): Parse<string> {
  let json = "";
  yield* readValue(input, (part) => {
    json += part;
  });
  const value: unknown = JSON.parse(json);
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  return malformed(`${json} is no name`);
}

function isKnown(name: string, { tools }: CallOptions): boolean {
  return tools.some((tool) => tool.name === name);
}

/** A name, perhaps an id, and the arguments in JSON, in Python's brackets or as keys and values in tags. */
function* readNamedCall(input: Input, marks: CallMarks, writer: CallWriter, options: CallOptions): Parse {
  const header = yield* readHeader(input);
  const unit = yield* input.peek();
  if (unit === "{") {
    writer.begin(header.name, header.id);
    yield* readObject(input, writer.write);
    writer.end();
  } else if (unit === "(") {
    writer.begin(header.name, header.id);
    yield* readObject(input, writer.write, 0, ")");
    writer.end();
  } else if (yield* input.startsWith("<arg_key>")) {
    writer.begin(header.name, header.id);
    yield* readPairs(input, writer, typesOf(header.name, options.tools));
  } else if (yield* endsHere(input, marks)) {
    writer.begin(header.name, header.id);
    writer.write("{}");
    writer.end();
  } else if (unit === "") unfinished("the text ends before the arguments");
  else malformed("expected the arguments of a call");
}

function* endsHere(input: Input, marks: CallMarks): Parse<boolean> {
  for (const mark of [...marks.closes, ...marks.between]) if (yield* input.startsWith(mark)) return true;
  return false;
}

interface Header {
  readonly name: string;
  readonly id: string | null;
}

function* readHeader(input: Input): Parse<Header> {
  let name = yield* readName(input);
  let id: string | null = null;
  for (;;) {
    yield* input.space();
    const mark = yield* input.takeAny(HEADER_PARTS);
    if (mark === null) break;
    if (mark === "[CALL_ID]") id = yield* readName(input);
    else if (mark === "<|tool_call:name|>") [id, name] = [name, yield* readName(input)];
    else if (mark === "<｜tool▁sep｜>" && name === "function") name = yield* readName(input);
  }
  const numbered = /^functions\.(.+):\d+$/su.exec(name)?.[1];
  if (numbered !== undefined) return { name: numbered, id: name };
  return { name: name.replace(/^call:|^functions\.|\.call$/gu, ""), id };
}

function* readName(input: Input): Parse<string> {
  yield* input.space();
  const name = yield* input.takeWhile((unit) => !/[\s<>{}()[\]"'`,;=]/.test(unit));
  if ((yield* input.peek()) === "") unfinished("the text ends in a name");
  if (name === "" || name.length > NAME_LENGTH_MAX) malformed("expected the name of a tool");
  return name;
}

const NAME_LENGTH_MAX = 200;
