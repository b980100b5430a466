/** Reads and writes what the protocols of providers have in common. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import type { SamplingWishes } from "../../core/generation.ts";
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

/** What the caller has said; the rest is left to the provider. */
export function writtenSampling(sampling: SamplingWishes): Readonly<Record<string, number>> {
  const said = Object.entries(sampling).filter((pair): pair is [string, number] => pair[1] !== null);
  return Object.fromEntries(said);
}

const told = TypeCompiler.Compile(Type.Object({ error: Type.Object({ message: Type.String() }) }));
const TOLD_MAX = 500;

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw faltering("upstream", "Cannot read the provider: an event of its stream is not JSON");
  }
}
