/** Pages of the items that a response was given to. Knows no HTTP and no item. */

import { type TSchema, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";

/** OpenAI's own. */
const LIMIT_MAX = 100;
const LIMIT_DEFAULT = 20;

interface ItemQuery {
  readonly order: "asc" | "desc";
  readonly limit: number;
  /** The page begins behind this item. */
  readonly after: string | null;
}

export function readItemQuery(parameters: URLSearchParams): ItemQuery {
  for (const name of parameters.keys()) {
    if (!["order", "limit", "after"].includes(name)) throw wrong(name, "there is no such parameter, or not yet");
  }
  const order = parameters.get("order") ?? "desc";
  if (order !== "asc" && order !== "desc") throw wrong("order", `expected asc or desc, found ${JSON.stringify(order)}`);
  const words = parameters.get("limit") ?? String(LIMIT_DEFAULT);
  const limit = /^\d+$/.test(words) ? Number(words) : 0;
  if (limit < 1 || limit > LIMIT_MAX) {
    throw wrong("limit", `expected a whole number from 1 to ${LIMIT_MAX}, found ${JSON.stringify(words)}`);
  }
  return { order, limit, after: parameters.get("after") };
}

export function itemPage(items: readonly { readonly id?: string | null }[], { order, limit, after }: ItemQuery) {
  const sorted = order === "asc" ? items : items.toReversed();
  const before = after === null ? -1 : sorted.findIndex(({ id }) => id === after);
  if (after !== null && before < 0) throw wrong("after", `there is no item ${JSON.stringify(after)}`);
  const rest = sorted.slice(before + 1);
  const data = rest.slice(0, limit);
  const ends = { first_id: data.at(0)?.id ?? null, last_id: data.at(-1)?.id ?? null };
  return { object: "list", data, ...ends, has_more: rest.length > limit };
}

function wrong(name: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use query parameter "${name}": ${state}`, name);
}

const nullableId = Type.Union([Type.String(), Type.Null()]);

export function itemPageSchema(item: TSchema) {
  return Type.Object({
    object: Type.Literal("list"),
    data: Type.Array(item),
    first_id: nullableId,
    last_id: nullableId,
    has_more: Type.Boolean(),
  });
}
