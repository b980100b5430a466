/** Anthropic's list of models. Knows no HTTP. */

import type { ModelRecord } from "../core/backend.ts";

export function anthropicModelBody({ name, created_s }: ModelRecord) {
  return { type: "model", id: name, display_name: name, created_at: new Date(created_s * 1000).toISOString() };
}

/** All of them are one page. */
export function anthropicModelListBody(models: readonly ModelRecord[]) {
  const data = models.map(anthropicModelBody);
  return { data, has_more: false, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
}
