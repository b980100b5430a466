/**
 * What "fast" costs and gives: perplexity and prompt speed of one model with `precision` exact and fast, on the same
 * text. Knows no server.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { KvPool } from "../../src/engine/kv-pool.ts";
import { evaluate, fromTokens, toFloat32 } from "../../src/mlx/array.ts";
import { findLibrary } from "../../src/mlx/discovery.ts";
import { openExtras, setFast } from "../../src/mlx/extras.ts";
import { openLibrary } from "../../src/mlx/library.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import type { Model } from "../../src/models/family.ts";
import { loadModel } from "../../src/models/load.ts";
import { Step } from "../../src/models/step.ts";
import { startTextWorker } from "../../src/text/client.ts";
import { median, sum, table } from "./numbers.ts";

const ROOT = join(import.meta.dir, "../..");
const DEFAULT_MODEL = join(ROOT, "build/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
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
    text: { type: "string", default: join(ROOT, "README.md") },
    windows: { type: "string", default: "8" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

const library = findLibrary(
  { named: null, own_folder: join(ROOT, "build/native"), homebrew_folders: [] },
  process.platform,
);
openLibrary(library);
openExtras(library, true);

interface Reading {
  /** Natural logarithms of the probabilities of the tokens that came. */
  readonly logprobs: readonly number[];
  readonly duration_ms: number;
}

const readings = { exact: [] as Reading[], fast: [] as Reading[] };
const windows = await readWindows();
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
  const logprobs = all.flatMap((reading) => reading.logprobs);
  const speed = median(all.map(({ duration_ms }) => WINDOW_TOKENS / (duration_ms / 1000)));
  return [precision, Math.exp(-sum(logprobs) / logprobs.length).toFixed(4), speed.toFixed(0)];
});
process.stdout.write(table([["precision", "perplexity", "prompts, tok/s"], ...rows]));

async function readWindows(): Promise<number[][]> {
  const text = startTextWorker(join(ROOT, "src/text/main.ts"));
  await text.load(values.model);
  const token_ids = await text.encodeText(values.model, readFileSync(values.text, "utf8"));
  text.close();
  const count = Math.min(Number(values.windows), Math.floor(token_ids.length / WINDOW_TOKENS));
  if (!(count > 0)) throw new Error(`${values.text} has ${token_ids.length} tokens, ${WINDOW_TOKENS} are the least`);
  return Array.from({ length: count }, (_, index) =>
    token_ids.slice(index * WINDOW_TOKENS, (index + 1) * WINDOW_TOKENS),
  );
}

function read(model: Model, token_ids: readonly number[]): Reading {
  const blocks = Array.from({ length: Math.ceil(token_ids.length / BLOCK_TOKENS) }, (_, index) => index);
  using pool = new KvPool(model.cache_shape, blocks.length);
  pool.cover(blocks.length - 1);
  using step = new Step([{ start: 0, blocks, count: token_ids.length }], pool.layers);
  using tokens = fromTokens(token_ids);
  const began_ms = performance.now();
  using hidden = model.forward(tokens, step);
  evaluate(hidden);
  const duration_ms = performance.now() - began_ms;
  using logits = model.logits(hidden);
  evaluate(logits);
  const all = toFloat32(logits);
  const size = model.vocabulary_size;
  const logprobs = token_ids
    .slice(1)
    .map((token, index) => logprob(all.subarray(index * size, (index + 1) * size), token));
  return { logprobs, duration_ms };
}

function logprob(logits: Float32Array, token: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const logit of logits) top = Math.max(top, logit);
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - top);
  return (logits[token] ?? Number.NaN) - top - Math.log(total);
}
