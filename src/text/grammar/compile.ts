/** Compiles what a caller wants an answer to be. Knows no model but the bytes its tokens can spell, and its marks. */

import { createHash } from "node:crypto";
import { Failure } from "../../core/failure.ts";
import type { CompiledGrammar, Constraint, Form } from "../../core/grammar.ts";
import { Budget } from "./budget.ts";
import { GrammarBuilder } from "./builder.ts";
import { callsNode } from "./calls-grammar.ts";
import { gbnfNode } from "./gbnf.ts";
import { jsonNode } from "./json-grammar.ts";
import { type Language, matching, texts } from "./language.ts";
import { literalNode, textUntil, type Writing } from "./marked-text.ts";
import { parseRegex, RegexError } from "./regex.ts";
import type { Json } from "./schema-document.ts";
import { type Alphabet, plainTerminal } from "./terminals.ts";

/** `marks`: names of tokens that are never spelled. Throws a `Failure` that says what cannot be enforced. */
export function compileGrammar(
  constraint: Constraint,
  alphabet: Alphabet,
  marks: readonly string[] = [],
): CompiledGrammar {
  const key = createHash("sha256").update(JSON.stringify(constraint)).digest("base64");
  const what = nameOf(constraint);
  const budget = new Budget(what);
  const builder = new GrammarBuilder(budget);
  const grammar = withinStack(what, () => {
    return builder.finish(formNode(constraint, { builder, alphabet, marks, budget }));
  });
  if (grammar !== null) return { key, ...grammar };
  const state = what === "schema" ? "no value that the model can write satisfies it" : NO_TEXT;
  throw new Failure("invalid_request", `Cannot enforce the ${what}: ${state}`);
}

/** The stack bounds how deep forms lie in one another, and how long a row of them is. */
function withinStack<Result>(what: string, compile: () => Result): Result {
  try {
    return compile();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Failure(
      "invalid_request",
      `Cannot compile the ${what}: it is nested too deep, or counts too far, to be enforced`,
    );
  }
}

const NO_TEXT = "the model can write no text that it allows";

function nameOf(form: Form): string {
  switch (form.kind) {
    case "json_schema":
      return "schema";
    case "regex":
      return "expression";
    case "choice":
    case "grammar":
    case "calls":
      return form.kind;
    case "either":
      return "form of the answer";
    case "within":
    case "after_thought":
      return nameOf(form.form);
  }
}

function formNode(form: Form, writing: Writing): number {
  const { builder, alphabet, budget } = writing;
  switch (form.kind) {
    case "json_schema":
      return jsonNode(form.schema as Json, builder, alphabet, budget);
    case "regex":
      return regular(languageOf(form.expression, budget), writing);
    case "choice":
      return regular(texts(form.texts, budget), writing);
    case "grammar":
      return gbnfNode(form.source, builder, alphabet, budget);
    case "calls":
      return callsNode(form, writing);
    case "either":
      return builder.choice(form.forms.map((each) => formNode(each, writing)));
    case "within":
      return builder.sequence(
        literalNode(form.open, writing),
        formNode(form.form, writing),
        literalNode(form.close, writing),
      );
    case "after_thought":
      return thoughtNode(form, writing);
  }
}

function thoughtNode({ thought, form }: Extract<Form, { kind: "after_thought" }>, writing: Writing): number {
  const { builder, budget } = writing;
  const node = formNode(form, writing);
  const space = regular(matching(parseRegex(SPACE), budget), writing);
  const behind = thought.behind === "" ? space : literalNode(thought.behind, writing);
  const rest = builder.sequence(textUntil(thought.close, writing), behind, node);
  if (thought.is_open) return rest;
  return builder.choice([builder.sequence(literalNode(thought.open, writing), rest), node]);
}

/** Behind a thought. */
const SPACE = "[ \\n]{0,4}";

function regular(language: Language, { builder, alphabet, budget }: Writing): number {
  return builder.terminal(plainTerminal(language, alphabet, budget));
}

function languageOf(expression: string, budget: Budget): Language {
  try {
    return matching(parseRegex(expression), budget);
  } catch (error) {
    if (!(error instanceof RegexError)) throw error;
    throw new Failure("invalid_request", `Cannot enforce the expression: ${error.message}`);
  }
}
