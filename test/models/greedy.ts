/** The best token of every step, as the engine draws it. */

import type { KvBits } from "../../src/core/settings.ts";
import { Engine } from "../../src/engine/engine.ts";
import { KvPool } from "../../src/engine/kv-pool.ts";
import { StatePool } from "../../src/engine/state-pool.ts";
import { fromBytes, fromTokens, toFloat32 } from "../../src/mlx/array.ts";
import { take } from "../../src/mlx/ops.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import type { Model } from "../../src/models/family.ts";
import { Step } from "../../src/models/step.ts";
import { GREEDY_ROW } from "../engine/greedy-row.ts";
import { ENGINE_SETTINGS } from "../open-mlx.ts";

export function greedy(
  model: Model,
  prompt_ids: readonly number[],
  tokens_max: number,
  prefill_chunk: number,
): number[] {
  using engine = new Engine(model, { ...ENGINE_SETTINGS, chunk_tokens_max: prefill_chunk }, () => performance.now());
  engine.add({ ...GREEDY_ROW, id: 1, prompt_ids, tokens_max });
  const drawn: number[] = [];
  while (engine.rows > 0) {
    for (const outcome of engine.step()) {
      if (outcome.kind === "failed") throw new Error(outcome.failure.message);
      drawn.push(...outcome.token_ids);
    }
  }
  return drawn;
}

/** What the model makes of a whole prompt at once, for its last position. */
export function lastLogits(model: Model, prompt_ids: readonly number[], bits: KvBits = 32): Float32Array {
  const blocks = Array.from({ length: Math.ceil(prompt_ids.length / BLOCK_TOKENS) }, (_, block) => block);
  using pool = new KvPool(model.cache_shape, blocks.length, bits);
  using states = new StatePool(model.state_shapes);
  const state = { from: null, to: 0 };
  using step = new Step([{ start: 0, count: prompt_ids.length, blocks, state }], pool.layers, states);
  using tokens = fromTokens(prompt_ids);
  using hidden = model.forward(tokens, step);
  using place = fromBytes(Int32Array.of(prompt_ids.length - 1), [1], "int32");
  using last = take(hidden, place, 0);
  using logits = model.logits(last);
  return toFloat32(logits);
}
