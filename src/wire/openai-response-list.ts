/** How a kept response, and the pages of the items that it was given to, are asked for. Knows no HTTP and no item. */

import { type TSchema, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";

/** OpenAI's own. */
const LIMIT_MAX = 100;
const LIMIT_DEFAULT = 20;

/** As curl's users and OpenAI's clients write it. */
const INCLUDES = ["include", "include[]"];
/** Items tell it in any case. */
const TOLD = ["message.input_image.image_url", "message.output_text.logprobs", "reasoning.encrypted_content"];

interface ItemQuery {
  readonly order: "asc" | "desc";
  readonly limit: number;
  /** The page begins behind this item. */
  readonly after: string | null;
}

interface ShowQuery {
  readonly stream: boolean;
  /** The number of the last event that the caller has; -1: it has none. */
  readonly after: number;
}

export function readShowQuery(parameters: URLSearchParams): ShowQuery {
  refuseUnknown(parameters, ["stream", "starting_after", "include_obfuscation", ...INCLUDES]);
  if (INCLUDES.some((name) => parameters.has(name)))
    throw wrong("include", "an answer tells what it was asked for with it");
  const stream = flag(parameters, "stream");
  if (flag(parameters, "include_obfuscation")) throw wrong("include_obfuscation", "events are told again as they were");
  const words = parameters.get("starting_after");
  if (words === null) return { stream, after: -1 };
  if (!stream) throw wrong("starting_after", 'it needs "stream=true"');
  if (/^\d{1,9}$/.test(words)) return { stream, after: Number(words) };
  throw wrong("starting_after", `expected the number of an event, found ${JSON.stringify(words)}`);
}

function flag(parameters: URLSearchParams, name: string): boolean {
  const word = parameters.get(name) ?? "false";
  if (word === "true" || word === "false") return word === "true";
  throw wrong(name, `expected true or false, found ${JSON.stringify(word)}`);
}

function refuseUnknown(parameters: URLSearchParams, known: readonly string[]): void {
  for (const name of parameters.keys()) {
    if (!known.includes(name)) throw wrong(name, "there is no such parameter, or not yet");
  }
}

export function readItemQuery(parameters: URLSearchParams): ItemQuery {
  refuseUnknown(parameters, ["order", "limit", "after", ...INCLUDES]);
  for (const word of INCLUDES.flatMap((name) => parameters.getAll(name))) {
    if (!TOLD.includes(word)) throw wrong("include", `${JSON.stringify(word)} is not supported yet`);
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
