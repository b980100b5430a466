/**
 * What "fast" costs and gives: perplexity and prompt speed of one model with `precision` exact and fast, on the same
 * text. Knows no server.
 */

import { parseArgs } from "node:util";
import { setFast } from "../../src/mlx/extras.ts";
import { loadModel } from "../../src/models/load.ts";
import { median, table } from "./numbers.ts";
import {
  DEFAULT_MODEL,
  DEFAULT_TEXT,
  openBuilt,
  perplexity,
  type Reading,
  read,
  stretches,
  tokensOf,
} from "./reading.ts";

const WINDOW_TOKENS = 256;

const HELP = `bun scripts/bench/precision.ts [--model PATH] [--text FILE] [--windows N]

  --model PATH   a model folder or GGUF file; the default model unless given
  --text FILE    what is read; this project's README unless given
  --windows N    how many stretches of ${WINDOW_TOKENS} tokens, 8 unless given

perplexity  of each token after those before it in its stretch
prompts     tokens a second through the layers, the median of all stretches; exact and fast take turns
`;

const { values } = parseArgs({
  options: {
    model: { type: "string", default: DEFAULT_MODEL },
    text: { type: "string", default: DEFAULT_TEXT },
    windows: { type: "string", default: "8" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

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
