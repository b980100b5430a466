/** Anthropic's list of models. Knows no HTTP. */

import type { ModelRecord } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";

/** Anthropic's own. */
const LIMIT_MAX = 1000;

/** Of the list of models; null: from one end of it to the other. */
interface ModelQuery {
  readonly limit: number;
  readonly after_id: string | null;
  readonly before_id: string | null;
}

export function readModelQuery(parameters: URLSearchParams): ModelQuery {
  for (const name of parameters.keys()) {
    if (!["limit", "after_id", "before_id"].includes(name)) throw wrong(name, "there is no such parameter");
  }
  const words = parameters.get("limit") ?? String(LIMIT_MAX);
  const limit = /^\d+$/.test(words) ? Number(words) : 0;
  if (limit < 1 || limit > LIMIT_MAX) {
    throw wrong("limit", `expected a whole number from 1 to ${LIMIT_MAX}, found ${JSON.stringify(words)}`);
  }
  return { limit, after_id: parameters.get("after_id"), before_id: parameters.get("before_id") };
}

export function anthropicModelBody({ name, created_s }: ModelRecord) {
  return { type: "model", id: name, display_name: name, created_at: new Date(created_s * 1000).toISOString() };
}

/** The page next to the id that it goes on from. */
export function anthropicModelListBody(models: readonly ModelRecord[], { limit, after_id, before_id }: ModelQuery) {
  const first = after_id === null ? 0 : placeOf(after_id, "after_id", models) + 1;
  const rest = models.slice(first, before_id === null ? models.length : placeOf(before_id, "before_id", models));
  const page = before_id === null ? rest.slice(0, limit) : rest.slice(-limit);
  const data = page.map(anthropicModelBody);
  const has_more = rest.length > limit;
  return { data, has_more, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
}

function placeOf(id: string, parameter: string, models: readonly ModelRecord[]): number {
  const place = models.findIndex(({ name }) => name === id);
  if (place < 0) throw wrong(parameter, `there is no model ${JSON.stringify(id)}`);
  return place;
}

function wrong(name: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use query parameter "${name}": ${state}`, name);
}
