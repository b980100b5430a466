/** What benchmarks of models without a server share: MLX open, a text in tokens, and how likely a model finds it. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { KvBits } from "../../src/core/settings.ts";
import { KvPool } from "../../src/engine/kv-pool.ts";
import { evaluate, fromTokens, toFloat32 } from "../../src/mlx/array.ts";
import { findLibrary } from "../../src/mlx/discovery.ts";
import { openExtras } from "../../src/mlx/extras.ts";
import { openLibrary } from "../../src/mlx/library.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import type { Model } from "../../src/models/family.ts";
import { Step } from "../../src/models/step.ts";
import { startTextWorker } from "../../src/text/client.ts";
import { sum } from "./numbers.ts";

export interface Reading {
  /** Natural logarithms of the probabilities of the tokens that came. */
  readonly logprobs: readonly number[];
  readonly duration_ms: number;
}

const ROOT = join(import.meta.dir, "../..");
const DEFAULT_MODEL = join(ROOT, "build/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");

/** Of a command that reads a text through a model; with `--help` it says so and ends. `columns`: what its table tells. */
export function readingOptions(script: string, window_tokens: number, columns: string) {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: DEFAULT_MODEL },
      text: { type: "string", default: join(ROOT, "README.md") },
      windows: { type: "string", default: "8" },
      help: { type: "boolean", default: false },
    },
  });
  if (!values.help) return values;
  process.stdout.write(`bun scripts/bench/${script} [--model PATH] [--text FILE] [--windows N]

  --model PATH   a model folder or GGUF file; the default model unless given
  --text FILE    what is read; this project's README unless given
  --windows N    how many stretches of ${window_tokens} tokens, 8 unless given

${columns}`);
  process.exit(0);
}

export function openBuilt(): void {
  const places = { named: null, own_folder: join(ROOT, "build/native"), homebrew_folders: [] };
  const library = findLibrary(places, process.platform);
  openLibrary(library);
  openExtras(library, true);
}

export async function tokensOf(model: string, file: string): Promise<readonly number[]> {
  const text = startTextWorker(join(ROOT, "src/text/main.ts"));
  await text.load(model);
  const token_ids = await text.encodeText(model, readFileSync(file, "utf8"));
  text.close();
  return token_ids;
}

/** Up to `count` stretches of `size` tokens, one behind the other. */
export function stretches(token_ids: readonly number[], size: number, count: number): readonly number[][] {
  const found = Math.min(count, Math.floor(token_ids.length / size));
  if (!(found > 0)) throw new Error(`the text has ${token_ids.length} tokens, ${size} are the least`);
  return Array.from({ length: found }, (_, index) => token_ids.slice(index * size, (index + 1) * size));
}

/** Each token after those before it. */
export function read(model: Model, token_ids: readonly number[], bits: KvBits = 32): Reading {
  const blocks = Array.from({ length: Math.ceil(token_ids.length / BLOCK_TOKENS) }, (_, index) => index);
  using pool = new KvPool(model.cache_shape, blocks.length, bits);
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

export function perplexity(readings: readonly Reading[]): number {
  const logprobs = readings.flatMap((reading) => reading.logprobs);
  return Math.exp(-sum(logprobs) / logprobs.length);
}

function logprob(logits: Float32Array, token: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const logit of logits) top = Math.max(top, logit);
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - top);
  return (logits[token] ?? Number.NaN) - top - Math.log(total);
}
