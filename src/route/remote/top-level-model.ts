/** Names another model in a JSON body, or adds what it lacks, and leaves every other byte as it is. */

import { assert } from "../../core/assert.ts";

/** `body`: a JSON object that has been parsed before, so that it is known to be one. */
export function withModel(body: string, model: string): string {
  const value = JSON.stringify(model);
  let written = "";
  let copied_to = 0;
  for (const span of topLevelValues(body, "model")) {
    written += body.slice(copied_to, span.start) + value;
    copied_to = span.end;
  }
  return written + body.slice(copied_to);
}

/** Adds a value by the first of the names, unless one of them is there. */
export function withMissing(body: string, names: readonly string[], value: number | string): string {
  for (const name of names) for (const _ of topLevelValues(body, name)) return body;
  const open = body.indexOf("{") + 1;
  const comma = body[skipSpace(body, open)] === "}" ? "" : ",";
  return `${body.slice(0, open)}${JSON.stringify(names[0])}:${JSON.stringify(value)}${comma}${body.slice(open)}`;
}

/** Begins the messages of a chat with one of the system, unless there is one. */
export function withSystemMessage(body: string, content: string): string {
  const messages = Reflect.get(JSON.parse(body), "messages");
  if (!Array.isArray(messages) || messages.some(isOfSystem)) return body;
  const written = JSON.stringify({ role: "system", content });
  const [first] = topLevelValues(body, "messages");
  assert(first !== undefined, "what was parsed is there");
  const inside = first.start + 1;
  return `${body.slice(0, inside)}${written}${messages.length === 0 ? "" : ","}${body.slice(inside)}`;
}

function isOfSystem(message: unknown): boolean {
  const role = typeof message === "object" && message !== null ? Reflect.get(message, "role") : null;
  return role === "system" || role === "developer";
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** All of them: of a name given twice readers do not agree which counts. */
function* topLevelValues(text: string, wanted: string): Generator<Span> {
  let at = skipSpace(text, 0);
  assert(text[at] === "{", "the body is a JSON object");
  at = skipSpace(text, at + 1);
  while (text[at] === '"') {
    const name_end = stringEnd(text, at);
    const name: unknown = JSON.parse(text.slice(at, name_end));
    const start = skipSpace(text, skipSpace(text, name_end) + 1);
    const end = valueEnd(text, start);
    if (name === wanted) yield { start, end };
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === " " || text[at] === "\n" || text[at] === "\r" || text[at] === "\t") at++;
  return at;
}

/** After the closing quote. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (true) {
    const quote = text.indexOf('"', at);
    assert(quote >= 0, "a text in JSON ends");
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === "\\") backslashes++;
    at = quote + 1;
    if (backslashes % 2 === 0) return at;
  }
}

function valueEnd(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return stringEnd(text, start);
  if (first === "{" || first === "[") return nestedEnd(text, start);
  let at = start;
  while (at < text.length && !",}] \n\r\t".includes(text[at] ?? "")) at++;
  return at;
}

const BRACKET_OR_TEXT = /["{}[\]]/g;

function nestedEnd(text: string, start: number): number {
  let depth = 0;
  let at = start;
  while (true) {
    BRACKET_OR_TEXT.lastIndex = at;
    const match = BRACKET_OR_TEXT.exec(text);
    assert(match !== null, "what is nested in JSON ends");
    const found = match[0];
    at = found === '"' ? stringEnd(text, match.index) : match.index + 1;
    if (found === "{" || found === "[") depth++;
    if (found === "}" || found === "]") depth--;
    if (depth === 0) return at;
  }
}
