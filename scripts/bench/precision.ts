/**
 * What "fast" costs and gives: perplexity and prompt speed of one model with `precision` exact and fast, on the same
 * text. Knows no server.
 */

import { setFast } from "../../src/mlx/extras.ts";
import { loadModel } from "../../src/models/load.ts";
import { median, table } from "./numbers.ts";
import { openBuilt, perplexity, type Reading, read, readingOptions, stretches, tokensOf } from "./reading.ts";

const WINDOW_TOKENS = 256;

const COLUMNS = `perplexity  of each token after those before it in its stretch
prompts     tokens a second through the layers, the median of all stretches; exact and fast take turns
`;

const values = readingOptions("precision.ts", WINDOW_TOKENS, COLUMNS);

openBuilt();
const readings = { exact: [] as Reading[], fast: [] as Reading[] };
const windows = stretches(await tokensOf(values.model, values.text), WINDOW_TOKENS, Number(values.windows));
using model = loadModel(values.model);
read(model, windows[0] ?? []); // warms the allocator
for (const token_ids of windows) {
  for (const precision of ["exact", "fast"] as const) {
    setFast(precision === "fast");
    readings[precision].push(read(model, token_ids));
  }
}
const rows = (["exact", "fast"] as const).map((precision) => {
  const all = readings[precision];
  const speed = median(all.map(({ duration_ms }) => WINDOW_TOKENS / (duration_ms / 1000)));
  return [precision, perplexity(all).toFixed(4), speed.toFixed(0)];
});
process.stdout.write(table([["precision", "perplexity", "prompts, tok/s"], ...rows]));
