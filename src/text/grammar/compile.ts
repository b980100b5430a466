/** Compiles what a caller wants an answer to be. Knows no model but the bytes its tokens can spell. */

import { createHash } from "node:crypto";
import { Failure } from "../../core/failure.ts";
import type { CompiledGrammar, Constraint } from "../../core/grammar.ts";
import { Budget } from "./budget.ts";
import { type Grammar, GrammarBuilder } from "./builder.ts";
import { callsGrammar } from "./calls-grammar.ts";
import { gbnfGrammar } from "./gbnf.ts";
import { jsonGrammar } from "./json-grammar.ts";
import { type Language, matching, texts } from "./language.ts";
import { parseRegex, RegexError } from "./regex.ts";
import type { Json } from "./schema-document.ts";
import { type Alphabet, plainTerminal } from "./terminals.ts";

/** Throws a `Failure` that says what cannot be enforced. */
export function compileGrammar(constraint: Constraint, alphabet: Alphabet): CompiledGrammar {
  const key = createHash("sha256").update(JSON.stringify(constraint)).digest("base64");
  return { key, ...grammarOf(constraint, alphabet) };
}

function grammarOf(constraint: Constraint, alphabet: Alphabet): Grammar {
  switch (constraint.kind) {
    case "json_schema":
      return jsonGrammar(constraint.schema as Json, alphabet, new Budget("schema"));
    case "regex":
      return regular(expressionOf(constraint.expression), "expression", alphabet, new Budget("expression"));
    case "choice":
      return regular((budget) => texts(constraint.texts, budget), "choice", alphabet, new Budget("choice"));
    case "grammar":
      return gbnfGrammar(constraint.source, alphabet, new Budget("grammar"));
    case "calls":
      return callsGrammar(constraint, alphabet, new Budget("schema"));
  }
}

function expressionOf(source: string): (budget: Budget) => Language {
  return (budget) => {
    try {
      return matching(parseRegex(source), budget);
    } catch (error) {
      if (!(error instanceof RegexError)) throw error;
      throw new Failure("invalid_request", `Cannot enforce the expression: ${error.message}`);
    }
  };
}

function regular(languageOf: (budget: Budget) => Language, what: string, alphabet: Alphabet, budget: Budget): Grammar {
  const builder = new GrammarBuilder(budget);
  const root = builder.terminal(plainTerminal(languageOf(budget), alphabet, budget));
  const grammar = builder.finish(root);
  if (grammar !== null) return grammar;
  throw new Failure("invalid_request", `Cannot enforce the ${what}: the model can write no text that it allows`);
}
