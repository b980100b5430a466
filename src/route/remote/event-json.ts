/** Reads what the protocols of providers have in common. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import type { CountedUsage } from "../../core/exchange.ts";
import type { Usage } from "../../core/generation.ts";
import { checkedWhenUsed } from "./checked-when-used.ts";
import { faltering } from "./upstream-failure.ts";

type Check<Schema extends TSchema> = ReturnType<typeof checkedWhenUsed<Schema>>;

/** The data of an event, checked; an error that it tells of is thrown. */
export function readEvent<Schema extends TSchema>(data: string, check: Check<Schema>): Static<Schema> {
  const value = parsed(data);
  if (told().Check(value)) {
    const { message } = value.error;
    throw faltering("upstream", `Cannot go on: the provider says ${JSON.stringify(message.slice(0, TOLD_MAX))}`);
  }
  if (check().Check(value)) return value;
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

const told = checkedWhenUsed(Type.Object({ error: Type.Object({ message: Type.String() }) }));
const TOLD_MAX = 500;

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw faltering("upstream", "Cannot read the provider: an event of its stream is not JSON");
  }
}
