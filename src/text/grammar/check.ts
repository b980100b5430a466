/** Whether a finished text is what it had to be: an opinion that is independent of the grammar's. */

import { Ajv2020 } from "ajv/dist/2020.js";
import { toRecord } from "../../core/failure.ts";
import type { Constraint } from "../../core/grammar.ts";

/** How the text departs, or null. Only JSON is looked at: other texts are nothing but what their automaton accepted. */
export function departure(constraint: Constraint, text: string): string | null {
  if (constraint.kind !== "json_schema") return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return toRecord(error, "engine").message;
  }
  const validate = validatorOf(constraint.schema);
  if (validate === null || validate(value)) return null;
  const [first] = validate.errors ?? [];
  return `"${first?.instancePath ?? ""}" ${first?.message ?? "is something else"}`;
}

type Validate = ReturnType<Ajv2020["compile"]>;

/** null: the library cannot read the schema, so its opinion is missing. */
function validatorOf(schema: unknown): Validate | null {
  const bare = typeof schema === "object" && schema !== null ? { ...schema, $schema: undefined } : schema;
  for (const unicodeRegExp of [true, false]) {
    // Formats are the grammar's; six digits behind the point are more than a sum of cents is off by.
    const options = {
      strict: false,
      validateFormats: false,
      logger: false,
      multipleOfPrecision: 6,
      unicodeRegExp,
    } as const;
    try {
      return new Ajv2020(options).compile(bare as object);
    } catch {}
  }
  return null;
}
