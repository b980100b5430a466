/**
 * What `kv_bits` costs and gives: memory of a token, perplexity on a text, and how long a token takes after many, with
 * keys and values in 32, 8 and 4 bits. Knows no server.
 */

import { KV_BITS, type KvBits } from "../../src/core/settings.ts";
import { blockBytes, KvPool } from "../../src/engine/kv-pool.ts";
import { evaluate, fromTokens } from "../../src/mlx/array.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { Step } from "../../src/models/step.ts";
import { table } from "./numbers.ts";
import { openBuilt, perplexity, read, readingOptions, stretches, tokensOf } from "./reading.ts";

const WINDOW_TOKENS = 512;
const CHUNK_TOKENS = 512;
const DEPTHS = [1000, 4000];
const TIMED_TOKENS = 40;

const COLUMNS = `bytes a token   keys and values of all layers
perplexity      of each token after those before it in its stretch
ms after N      for one token through the layers after N others, the fastest of ${TIMED_TOKENS}
`;

const values = readingOptions("kv.ts", WINDOW_TOKENS, COLUMNS);

openBuilt();
const token_ids = await tokensOf(values.model, values.text);
const windows = stretches(token_ids, WINDOW_TOKENS, Number(values.windows));
using model = loadModel(values.model);
const rows = KV_BITS.map((bits) => [
  String(bits),
  String(blockBytes(model.cache_shape, bits) / BLOCK_TOKENS),
  perplexity(windows.map((window) => read(model, window, bits))).toFixed(3),
  ...decodeMs(model, token_ids, bits).map((ms) => ms.toFixed(2)),
]);
const depths = DEPTHS.map((depth) => `ms after ${depth}`);
process.stdout.write(table([["bits", "bytes a token", "perplexity", ...depths], ...rows]));

/** For each depth, over the text again and again. */
function decodeMs(model: Model, token_ids: readonly number[], bits: KvBits): number[] {
  const count = Math.max(...DEPTHS) + TIMED_TOKENS;
  const text = Array.from({ length: count }, (_, index) => token_ids[index % token_ids.length] ?? 0);
  const blocks = Array.from({ length: Math.ceil(count / BLOCK_TOKENS) }, (_, index) => index);
  using pool = new KvPool(model.cache_shape, blocks.length, bits);
  pool.cover(blocks.length - 1);
  const forward = (start: number, end: number) => {
    using step = new Step(
      [{ start, blocks: blocks.slice(0, Math.ceil(end / BLOCK_TOKENS)), count: end - start }],
      pool.layers,
    );
    using tokens = fromTokens(text.slice(start, end));
    const began_ms = performance.now();
    using hidden = model.forward(tokens, step);
    evaluate(hidden);
    return performance.now() - began_ms;
  };
  let position = 0;
  return DEPTHS.map((depth) => {
    for (; position < depth; position = Math.min(depth, position + CHUNK_TOKENS))
      forward(position, Math.min(depth, position + CHUNK_TOKENS));
    return Math.min(...Array.from({ length: TIMED_TOKENS }, () => forward(position, ++position)));
  });
}
