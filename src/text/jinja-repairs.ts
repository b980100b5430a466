/** Rewrites a parsed chat template where the template library departs from Jinja2, so that it renders what Python would. */

import { parse, tokenize } from "@huggingface/jinja";

type Program = ReturnType<typeof parse>;

/** A node of a parsed template; the library does not export the classes. */
export interface Node {
  type: string;
  [field: string]: unknown;
}

/** Changes `program` in place. */
export function likePython(program: Program): Program {
  walk(program, repair);
  return program;
}

/** The names that a template speaks of, its own variables among them; `x` in `message.x` is none. */
export function namesIn(program: Program): ReadonlySet<string> {
  const fields = new Set<unknown>();
  walk(program, (node) => {
    if (node.type === "MemberExpression" && node["computed"] !== true) fields.add(node["property"]);
  });
  const names = new Set<string>();
  walk(program, (node) => {
    if (node.type === "Identifier" && !fields.has(node)) names.add(String(node["value"]));
  });
  return names;
}

/** What rewritten nodes call; no template can spell a name with a space. */
export const pythonFunctions = {
  "python strip": strip,
  "python lstrip": stripLeft,
  "python rstrip": stripRight,
  // What is not defined prints nothing, so a filter trims "".
  "python lookup": lookup,
  "python repeat": repeat,
  "python replace": replace,
  "python repr": (value: unknown) => repr({ type: "ObjectValue", value }),
  "python trim": (text: unknown, characters?: unknown) => (text === undefined ? "" : strip(text, characters)),
};

const METHODS: ReadonlySet<string> = new Set(["strip", "lstrip", "rstrip", "replace"]);
/** Filters that see nothing in what is not defined, where the library fails; and those that see nothing in None either. */
const SKIPS_UNDEFINED: ReadonlySet<string> = new Set(["length", "list"]);
const SKIPS_NONE: ReadonlySet<string> = new Set(["selectattr", "rejectattr", "map"]);

/** Of a text that a template makes: beyond the longest context there is. */
const TEXT_LENGTH_MAX = 2 ** 24;

export function checkLength(length: number): void {
  if (!(length <= TEXT_LENGTH_MAX)) throw new Error(`a text of ${length} characters, at most ${TEXT_LENGTH_MAX}`);
}

/** `act` on every node, those within it first. */
export function walk(value: unknown, act: (node: Node) => void): void {
  if (Array.isArray(value)) for (const each of value) walk(each, act);
  else if (value instanceof Map) for (const each of value) walk(each, act);
  else if (isNode(value)) {
    for (const field of Object.values(value)) walk(field, act);
    act(value);
  }
}

function repair(node: Node): void {
  switch (node.type) {
    case "CallExpression":
      repairCall(node);
      break;
    case "FilterExpression":
      repairFilter(node);
      break;
    case "For":
      repairFor(node);
      break;
    case "ObjectLiteral":
      repairLiteral(node);
      break;
    case "MemberExpression":
      repairMember(node);
      break;
    case "BinaryExpression":
      repairTimes(node);
  }
}

/** `"  " * depth`: the library multiplies numbers only. */
function repairTimes(node: Node): void {
  const { operator, left, right } = node;
  if (!isNode(left) || !isNode(right) || (operator as { value: string }).value !== "*") return;
  if (left.type !== "StringLiteral" && right.type !== "StringLiteral") return;
  node.type = "CallExpression";
  node["callee"] = identifier("python repeat");
  node["args"] = left.type === "StringLiteral" ? [left, right] : [right, left];
}

/** `{512: 128}`: the library has texts as keys only. It becomes a list of pairs in the order of the keys. */
function repairLiteral(node: Node): void {
  const entries = [...(node["value"] as Map<Node, Node>)];
  if (entries.length === 0 || !entries.every(([key]) => key.type === "IntegerLiteral")) return;
  node.type = "ArrayLiteral";
  const pairs = entries.sort(([a], [b]) => Number(a["value"]) - Number(b["value"]));
  node["value"] = pairs.map((pair) => statement({ type: "ArrayLiteral", value: pair }));
}

/** `table[16384]`: beyond what the list has, a key of the pairs that it is made of. */
function repairMember(node: Node): void {
  const { computed, property, object } = node;
  if (computed !== true || !isNode(property) || property.type !== "IntegerLiteral" || !isNode(object)) return;
  if (object.type !== "Identifier" || Number(property["value"]) < PAIRED_KEY_MIN) return;
  node.type = "CallExpression";
  node["callee"] = identifier("python lookup");
  node["args"] = [object, property];
}

/** No list of a template is asked for so late an item; a table with numbers for keys is. */
const PAIRED_KEY_MIN = 1024;

/** `text.strip("\n")`: the library ignores the argument. `text.replace`: it does not look how long the text becomes. */
function repairCall(node: Node): void {
  const { callee } = node;
  if (!isNode(callee) || callee.type !== "MemberExpression" || callee["computed"] === true) return;
  const { property } = callee;
  if (!isNode(property) || !METHODS.has(String(property["value"]))) return;
  property["value"] = `python ${property["value"]}`;
  node["callee"] = property;
  node["args"] = [callee["object"], ...argumentsOf(node)];
}

/** `text | trim`: JavaScript's white space is not Python's. `tools | length` where there are none. */
function repairFilter(node: Node): void {
  const { filter } = node;
  if (!isNode(filter)) return;
  const is_call = filter.type === "CallExpression";
  const name = String(is_call && isNode(filter["callee"]) ? filter["callee"]["value"] : filter["value"]);
  if (name === "trim") {
    node.type = "CallExpression";
    node["callee"] = identifier("python trim");
    node["args"] = [node["operand"], ...(is_call ? argumentsOf(filter) : [])];
  }
  if (name === "replace") {
    node.type = "CallExpression";
    node["callee"] = identifier("python replace");
    node["args"] = [node["operand"], ...argumentsOf(filter)];
  }
  // What `repairLiteral` made is sorted already.
  if (name === "dictsort") keepIf(node, "x is mapping", node["operand"]);
  if (name === "string" && !is_call) keepIf(node, "x is not mapping", call("python repr", node["operand"]));
  if (SKIPS_UNDEFINED.has(name)) node["operand"] = orNothing(node["operand"]);
  if (SKIPS_NONE.has(name)) node["operand"] = orNothing(node["operand"], ", true");
}

/** The filter stays where its operand is of that kind; elsewhere it is `other`. */
function keepIf(node: Node, kind: "x is mapping" | "x is not mapping", other: unknown): void {
  const [ternary] = parse(tokenize(`{{ 1 if ${kind} else 0 }}`)).body as unknown as Node[];
  if (ternary === undefined || !isNode(ternary["condition"])) return;
  ternary["condition"]["operand"] = node["operand"];
  Object.assign(node, ternary, { trueExpr: statement({ ...node }), falseExpr: other });
}

function call(name: string, operand: unknown): Node {
  return statement({ type: "CallExpression", callee: identifier(name), args: [operand] });
}

/** `for` over what is not defined runs no round; a round that is left keeps what it has printed. */
function repairFor(node: Node): void {
  const { iterable } = node;
  // `for a, b in [("x", "y")]`: the library takes lists apart, and no tuples.
  if (isNode(iterable) && iterable.type === "ArrayLiteral") {
    for (const pair of nodesOf(iterable["value"])) if (pair.type === "TupleLiteral") pair.type = "ArrayLiteral";
  }
  if (isNode(iterable) && iterable.type === "SelectExpression") iterable["lhs"] = orNothing(iterable["lhs"]);
  else node["iterable"] = orNothing(iterable);
  const body = nodesOf(node["body"]);
  if (body.some(hasJump)) node["body"] = [assign(SKIP, "false"), unless(STOP, withoutJumps(body))];
}

/** Variables of a loop's own scope, in names that no template can spell. */
const SKIP = "python skip";
const STOP = "python stop";

/** `break` and `continue` become variables, and what follows them depends on these. */
function withoutJumps(body: readonly Node[]): Node[] {
  const at = body.findIndex(hasJump);
  const jump = body[at];
  if (jump === undefined) return [...body];
  const before = body.slice(0, at);
  if (jump.type === "Continue") return [...before, assign(SKIP, "true")];
  if (jump.type === "Break") return [...before, assign(SKIP, "true"), assign(STOP, "true")];
  jump["body"] = withoutJumps(nodesOf(jump["body"]));
  jump["alternate"] = withoutJumps(nodesOf(jump["alternate"]));
  return [...before, jump, unless(SKIP, withoutJumps(body.slice(at + 1)))];
}

/** Those of an inner loop are its own. */
function hasJump(node: Node): boolean {
  if (node.type === "Break" || node.type === "Continue") return true;
  return node.type === "If" && [...nodesOf(node["body"]), ...nodesOf(node["alternate"])].some(hasJump);
}

function assign(name: string, value: "true" | "false"): Node {
  return statement({ type: "Set", assignee: identifier(name), value: identifier(value), body: [] });
}

function unless(name: string, body: readonly Node[]): Node {
  const test = statement({ type: "UnaryExpression", operator: { value: "not" }, argument: identifier(name) });
  return statement({ type: "If", test, body, alternate: [] });
}

function identifier(value: string): Node {
  return statement({ type: "Identifier", value });
}

/** The library looks into its own classes only. */
function statement(node: Node): Node {
  return Object.assign(Object.create(Object.getPrototypeOf(parse([]))), node);
}

function nodesOf(value: unknown): readonly Node[] {
  return Array.isArray(value) ? value.filter(isNode) : [];
}

/** `operand | default([])`, or `operand | default([], true)` for None too. */
function orNothing(operand: unknown, or_none: "" | ", true" = ""): unknown {
  const [expression] = parse(tokenize(`{{ operand | default([]${or_none}) }}`)).body as unknown as Node[];
  if (expression !== undefined) expression["operand"] = operand;
  return expression;
}

function argumentsOf(node: Node): readonly unknown[] {
  return Array.isArray(node["args"]) ? node["args"] : [];
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

/** Python's white space: Unicode's, and the four separators of ASCII. */
const SPACE = /\p{White_Space}/u;
const SEPARATORS = "\x1c\x1d\x1e\x1f";

function repeat(text: unknown, count: unknown): string {
  const times = Math.max(0, Number(count));
  checkLength(textOf(text).length * times);
  return textOf(text).repeat(times);
}

function replace(text: unknown, old: unknown, other: unknown, count?: unknown): string {
  const [from, to] = [textOf(old), textOf(other)];
  // Python finds nothing around every character.
  const parts = from === "" ? ["", ...Array.from(textOf(text)), ""] : textOf(text).split(from);
  const all = parts.length - 1;
  const times = typeof count === "number" && count >= 0 ? Math.min(count, all) : all;
  checkLength(textOf(text).length + times * (to.length - from.length));
  return [parts.slice(0, times + 1).join(to), ...parts.slice(times + 1)].join(from);
}

function strip(text: unknown, characters?: unknown): string {
  return stripRight(stripLeft(text, characters), characters);
}

function stripLeft(text: unknown, characters?: unknown): string {
  const all = Array.from(textOf(text));
  const start = all.findIndex((character) => !isStripped(character, characters));
  return start < 0 ? "" : all.slice(start).join("");
}

function stripRight(text: unknown, characters?: unknown): string {
  const all = Array.from(textOf(text));
  const end = all.findLastIndex((character) => !isStripped(character, characters));
  return all.slice(0, end + 1).join("");
}

function isStripped(character: string, characters: unknown): boolean {
  if (typeof characters === "string") return characters.includes(character);
  return SPACE.test(character) || SEPARATORS.includes(character);
}

/** A value of the library. */
interface Value {
  readonly type: string;
  readonly value: unknown;
}

/** As Python prints what stands in a list or a dictionary. */
function repr({ type, value }: Value): string {
  switch (type) {
    case "ObjectValue": {
      const entries = [...(value as ReadonlyMap<string, Value>)];
      return `{${entries.map(([key, each]) => `${quoted(key)}: ${repr(each)}`).join(", ")}}`;
    }
    case "ArrayValue":
      return `[${(value as readonly Value[]).map(repr).join(", ")}]`;
    case "StringValue":
      return quoted(String(value));
    case "BooleanValue":
      return value === true ? "True" : "False";
    case "FloatValue":
      return Number.isInteger(value) ? `${value}.0` : String(value);
    case "IntegerValue":
      return String(value);
    case "NullValue":
      return "None";
    default:
      throw new Error(`a ${type} cannot be printed`);
  }
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const plain = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\r", "\\r");
  return quote + plain.replaceAll(quote, `\\${quote}`) + quote;
}

/** The pairs are the library's values. */
function lookup(pairs: unknown, key: unknown): unknown {
  const all: readonly { value: readonly { value: unknown }[] }[] = Array.isArray(pairs) ? pairs : [];
  const found = all.find(({ value }) => Array.isArray(value) && value[0]?.value === key)?.value[1]?.value;
  if (found === undefined) throw new Error(`there is no ${String(key)}`);
  return found;
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  throw new Error("expected a text");
}
