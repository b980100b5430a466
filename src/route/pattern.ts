/** Whether a model's name fits a rule's pattern. Takes time in proportion to the name, whatever the pattern. */

import { RE2JS, RE2JSException } from "re2js";
import { Failure } from "../core/failure.ts";
import type { PatternType } from "../core/routing.ts";

export type Matcher = (name: string) => boolean;

/** Throws a `Failure` for an expression that this engine refuses: back references, look-around, huge repetitions. */
export function compilePattern(type: PatternType, pattern: string): Matcher {
  if (pattern.length > PATTERN_CHARACTERS_MAX) {
    throw refused(`it has ${pattern.length} characters, at most ${PATTERN_CHARACTERS_MAX} are read`);
  }
  switch (type) {
    case "exact":
      return (name) => name === pattern;
    case "prefix":
      return (name) => name.startsWith(pattern);
    case "glob":
      return expression(`^${[...pattern].map(globPart).join("")}$`);
    case "regex":
      return expression(pattern);
  }
}

// Names of models have some dozens; a compiled expression is a multiple of its text.
const PATTERN_CHARACTERS_MAX = 256;

function globPart(character: string): string {
  if (character === "*") return ".*";
  return character === "?" ? "." : RE2JS.quote(character);
}

function expression(source: string): Matcher {
  try {
    const compiled = RE2JS.compile(source, RE2JS.DOTALL);
    return (name) => compiled.matcher(name).find();
  } catch (error) {
    if (error instanceof RE2JSException) throw refused(error.message);
    throw error;
  }
}

function refused(state: string): Failure {
  return new Failure("invalid_request", `Cannot use "model_pattern": ${state}`, "model_pattern");
}
