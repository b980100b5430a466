/** The forms that schemas of requests are made of. Knows no dialect. */

import { type ObjectOptions, type TProperties, type TSchema, Type } from "@sinclair/typebox";
import { notYet } from "./violation.ts";

/** An object that refuses every property it does not name; `later` are those of its dialect that are not served yet. */
export function strictObject<Properties extends TProperties>(
  properties: Properties,
  later: readonly string[],
  options: ObjectOptions = {},
) {
  return Type.Object(properties, { ...options, additionalProperties: false, ...notYet(...later) });
}

/** OpenAI lets most parameters be null, which means absent. */
export function optional<Schema extends TSchema>(schema: Schema) {
  return Type.Optional(Type.Union([schema, Type.Null()]));
}
