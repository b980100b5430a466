/** The parameters that say what form an answer has: OpenAI's `response_format`, and vLLM's. Knows no grammar. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { Constraint } from "../core/grammar.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

const CHOICES_MAX = 1000;

export const jsonSchema = Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Boolean()], {
  description: "A JSON Schema; a keyword in it that cannot be enforced is refused by its name.",
});
export const schemaName = Type.String({
  pattern: "^[a-zA-Z0-9_-]{1,64}$",
  description: "Names the schema in refusals.",
});
export const formDescription = optional(
  Type.String({ description: "For a provider that a request goes on to; here the schema is enforced, not told." }),
);
const regex = Type.String({
  minLength: 1,
  description: "An expression as in ECMAScript that the whole answer matches.",
});
const choice = Type.Array(Type.String({ minLength: 1 }), {
  minItems: 1,
  maxItems: CHOICES_MAX,
  description: "The answer is one of these texts.",
  ...called("texts"),
});
const grammar = Type.String({
  minLength: 1,
  description: "A grammar in GBNF; an answer is what its rule `root` says.",
});

/** Also of raw completions. */
export const constraintParameters = {
  structured_outputs: optional(
    strictObject(
      {
        json: optional(jsonSchema),
        json_object: optional(Type.Boolean({ description: "The answer is a JSON object." })),
        regex: optional(regex),
        choice: optional(choice),
        grammar: optional(grammar),
      },
      ["structural_tag", "disable_fallback", "disable_any_whitespace", "whitespace_pattern"],
      { description: "One of these forms of the answer, by vLLM's names." },
    ),
  ),
  guided_json: optional(jsonSchema),
  guided_regex: optional(regex),
  guided_choice: optional(choice),
  guided_grammar: optional(grammar),
  grammar: optional(grammar),
  json_schema: optional(jsonSchema),
};

export const responseFormat = optional(
  Type.Union(
    [
      strictObject({ type: Type.Literal("text", notYet("grammar", "python")) }, []),
      strictObject(
        {
          type: Type.Literal("json_object"),
          schema: optional(
            Type.Record(Type.String(), Type.Unknown(), { description: "What object, as llama.cpp and Together ask." }),
          ),
        },
        [],
      ),
      strictObject(
        {
          type: Type.Literal("json_schema"),
          json_schema: strictObject(
            {
              name: schemaName,
              schema: jsonSchema,
              strict: optional(Type.Boolean({ description: "A schema is always enforced; `false` asks for no less." })),
              description: formDescription,
            },
            [],
          ),
        },
        [],
      ),
    ],
    { description: "The form of the answer. It always is of that form unless it was cut at its most tokens." },
  ),
);

const constraintBody = Type.Object({ ...constraintParameters, response_format: responseFormat });
type ConstraintBody = Static<typeof constraintBody>;

export const ANY_OBJECT = { type: "object" };

export function constraintOf(body: ConstraintBody): Constraint | null {
  const [first, second] = named(body);
  if (second === undefined) return first ?? null;
  const state = `"${first?.parameter}" says what the answer is, expected one form`;
  throw new Failure("invalid_request", `Cannot use "${second.parameter}": ${state}`, second.parameter);
}

function named(body: ConstraintBody): Constraint[] {
  const { guided_json, guided_regex, guided_choice, guided_grammar, structured_outputs, response_format } = body;
  const inner = structured_outputs ?? {};
  return [
    ...formatted(response_format),
    ...json("guided_json", guided_json),
    ...regular("guided_regex", guided_regex),
    ...chosen("guided_choice", guided_choice),
    ...ruled("guided_grammar", guided_grammar),
    ...ruled("grammar", body.grammar),
    ...json("json_schema", body.json_schema),
    ...json("structured_outputs.json", inner.json),
    ...json("structured_outputs.json_object", inner.json_object ? ANY_OBJECT : null),
    ...regular("structured_outputs.regex", inner.regex),
    ...chosen("structured_outputs.choice", inner.choice),
    ...ruled("structured_outputs.grammar", inner.grammar),
  ];
}

function formatted(format: ConstraintBody["response_format"]): Constraint[] {
  if (!format || format.type === "text") return [];
  if (format.type === "json_object" && !format.schema) return json("response_format", ANY_OBJECT);
  if (format.type === "json_object") return json("response_format.schema", format.schema);
  return json("response_format.json_schema.schema", format.json_schema.schema);
}

function json(parameter: string, schema: unknown): Constraint[] {
  return schema === undefined || schema === null ? [] : [{ kind: "json_schema", parameter, schema }];
}

function regular(parameter: string, expression: string | null | undefined): Constraint[] {
  return typeof expression === "string" ? [{ kind: "regex", parameter, expression }] : [];
}

function chosen(parameter: string, texts: readonly string[] | null | undefined): Constraint[] {
  return texts ? [{ kind: "choice", parameter, texts }] : [];
}

function ruled(parameter: string, source: string | null | undefined): Constraint[] {
  return typeof source === "string" ? [{ kind: "grammar", parameter, source }] : [];
}
