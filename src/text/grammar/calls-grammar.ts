/** Writes the grammar of an answer that calls tools: what a model's own form puts around arguments, and their schemas. */

import { Failure } from "../../core/failure.ts";
import type { Constraint } from "../../core/grammar.ts";
import type { Budget } from "./budget.ts";
import { type Grammar, GrammarBuilder } from "./builder.ts";
import { jsonNode } from "./json-grammar.ts";
import { texts } from "./language.ts";
import type { Json } from "./schema-document.ts";
import { type Alphabet, plainTerminal } from "./terminals.ts";

type Calls = Extract<Constraint, { kind: "calls" }>;

export function callsGrammar({ begin, between, calls }: Calls, alphabet: Alphabet, budget: Budget): Grammar {
  const builder = new GrammarBuilder(budget);
  const literal = (text: string) => {
    if (text === "") return builder.sequence();
    return builder.terminal(plainTerminal(texts([text], budget), alphabet, budget));
  };
  const shapes = calls.map(({ before, schema, after }) => {
    return builder.sequence(literal(before), jsonNode(schema as Json, builder, alphabet, budget), literal(after));
  });
  const call = builder.choice(shapes);
  const more = between === null ? [] : [builder.repeat(builder.sequence(literal(between), call), 0, null)];
  const grammar = builder.finish(builder.sequence(literal(begin), call, ...more));
  if (grammar !== null) return grammar;
  throw new Failure("invalid_request", "Cannot enforce the calls: the model can write none that their schemas allow");
}
