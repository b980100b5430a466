/** The best token of every step, as the engine draws it. */

import { Engine } from "../../src/engine/engine.ts";
import type { Model } from "../../src/models/family.ts";

export function greedy(
  model: Model,
  prompt_ids: readonly number[],
  tokens_max: number,
  prefill_chunk: number,
): number[] {
  const engine = new Engine(prefill_chunk);
  const sampling = { temperature: 0, top_k: 0, top_p: 1, min_p: 0, seed: 0 };
  engine.add({ id: 1, prompt_ids, sampling, tokens_max, stop_token_ids: [] }, model);
  const drawn: number[] = [];
  while (engine.rows > 0) {
    for (const outcome of engine.step()) {
      if (outcome.kind === "failed") throw new Error(outcome.failure.message);
      drawn.push(...outcome.token_ids);
    }
  }
  return drawn;
}
