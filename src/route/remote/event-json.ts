/** Reads what the protocols of providers have in common. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import type { CountedUsage } from "../../core/exchange.ts";
import type { Usage } from "../../core/generation.ts";
import { faltering } from "./upstream-failure.ts";

/** The data of an event, checked; an error that it tells of is thrown. */
export function readEvent<Schema extends TSchema>(data: string, schema: TypeCheck<Schema>): Static<Schema> {
  const value = parsed(data);
  if (told.Check(value)) {
    const { message } = value.error;
    throw faltering("upstream", `Cannot go on: the provider says ${JSON.stringify(message.slice(0, TOLD_MAX))}`);
  }
  if (schema.Check(value)) return value;
  throw faltering("upstream", "Cannot read the provider: an event of its stream is not what its protocol says");
}

/** In what counting ends; a provider that told nothing has counted nothing. */
export function counted(usage: CountedUsage | null): Usage {
  const said = usage ?? NOTHING_TOLD;
  return { ...said, cached_tokens: said.cached_tokens ?? 0 };
}

const NOTHING_TOLD: CountedUsage = {
  prompt_tokens: 0,
  completion_tokens: 0,
  cached_tokens: null,
  reasoning_tokens: null,
};

const told = TypeCompiler.Compile(Type.Object({ error: Type.Object({ message: Type.String() }) }));
const TOLD_MAX = 500;

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw faltering("upstream", "Cannot read the provider: an event of its stream is not JSON");
  }
}
