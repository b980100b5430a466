/** The forms that schemas of requests are made of. Knows no dialect. */

import { type ObjectOptions, type TProperties, type TSchema, Type } from "@sinclair/typebox";
import { LATER } from "./violation.ts";

/**
 * An object that refuses every property it does not name; `later` are those of its dialect that are not served yet: who
 * writes all its fields sends them as null.
 */
export function strictObject<Properties extends TProperties>(
  properties: Properties,
  later: readonly string[],
  options: ObjectOptions = {},
) {
  const absent: Record<never, never> = Object.fromEntries(later.map((name) => [name, Type.Optional(LATER)]));
  return Type.Object({ ...absent, ...properties }, { ...options, additionalProperties: false });
}

/** OpenAI lets most parameters be null, which means absent. */
export function optional<Schema extends TSchema>(schema: Schema) {
  return Type.Optional(Type.Union([schema, Type.Null()]));
}
