/**
 * Measures one row of each family, tiny and in the size of Qwen3-0.6B, and counts the operations that were left to MLX.
 * In this process: knows no server and no tokenizer.
 */

import { CString, dlopen } from "bun:ffi";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { PLAIN_SAMPLING } from "../../src/core/generation.ts";
import { PRIORITY } from "../../src/core/priority.ts";
import { defaultSettings } from "../../src/core/settings.ts";
import { Engine } from "../../src/engine/engine.ts";
import { findLibrary } from "../../src/mlx/discovery.ts";
import { openExtras } from "../../src/mlx/extras.ts";
import { emptySlot, library, openLibrary, slotHandle } from "../../src/mlx/library.ts";
import { loadModel } from "../../src/models/load.ts";
import { median, table } from "./numbers.ts";

const HELP = `bun scripts/bench/families.ts [options] [MODEL…]

  MODEL            folders and GGUF files; the tiny models of the tests (build/fixtures/family-…) unless given
  --sized LIST     in place of those families of random weights in the size of Qwen3-0.6B, as "llama,qwen3", or "all";
                   each is written for the while into a folder of its own (needs build/python)
  --prompt N       tokens of the prompt, 256 unless given
  --tokens N       tokens of the answer, 64 unless given
  --runs N         measured answers, 3 unless given; medians are printed (one more goes before, unmeasured)
  --json           print for programs

prompt and answer are tokens a second of one row; left counts the operations for which there is no kernel of our own.
`;

const ROOT = join(import.meta.dir, "../..");
const FIXTURES = join(ROOT, "build/fixtures");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sized: { type: "string", default: "" },
    prompt: { type: "string", default: "256" },
    tokens: { type: "string", default: "64" },
    runs: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

interface Figures {
  readonly model: string;
  readonly prompt_tokens_per_s: number;
  readonly answer_tokens_per_s: number;
  readonly left_to_mlx: number;
}

const LIBRARY = findLibrary(
  { named: null, own_folder: join(ROOT, "build/native"), homebrew_folders: [] },
  process.platform,
);
openLibrary(LIBRARY);
openExtras(LIBRARY, true);

const is_tiny = positionals.length === 0 && values.sized === "" && existsSync(FIXTURES);
const tiny = is_tiny ? readdirSync(FIXTURES).sort() : [];
const paths = [...positionals, ...tiny.filter((name) => name.startsWith("family-")).map(inFixtures)];
const figures = [...paths.map(measure), ...sizedFamilies().map(measureSized)];
process.stdout.write(values.json ? `${JSON.stringify(figures)}\n` : shown(figures));

function inFixtures(name: string): string {
  const file = join(FIXTURES, name, "model.gguf");
  return existsSync(file) ? file : dirname(file);
}

function sizedFamilies(): string[] {
  if (values.sized === "all") return randomFamilies("").split(/\s+/).filter(Boolean);
  return values.sized.split(",").filter(Boolean);
}

/** One after the other: all together they are 8 GB. */
function measureSized(family: string): Figures {
  const folder = mkdtempSync(join(tmpdir(), "bench-families-"));
  try {
    randomFamilies(folder, family);
    return measure(join(folder, family));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Writes them; without any, tells which there are. */
function randomFamilies(folder: string, ...families: readonly string[]): string {
  const env = { PATH: process.env["PATH"], PYTHONPATH: join(ROOT, "build/python"), PYTHONDONTWRITEBYTECODE: "1" };
  const script = join(ROOT, "scripts/bench/random-families.py");
  const { success, stdout, stderr } = Bun.spawnSync(["python3", script, folder, ...families], { env });
  if (!success) throw new Error(stderr.toString());
  return stdout.toString();
}

function measure(path: string): Figures {
  const [prompt, tokens] = [Number(values.prompt), Number(values.tokens)];
  const before = leftToMlx();
  using model = loadModel(path);
  const runs = Array.from({ length: 1 + Number(values.runs) }, (_, run) => {
    using engine = new Engine(model, defaultSettings(2 ** 30), () => performance.now());
    const prompt_ids = Array.from({ length: Math.min(prompt, model.context_length - tokens) }, (_, place) => {
      return (31 * place + run) % model.vocabulary_size;
    });
    return answer(engine, prompt_ids, tokens);
  }).slice(1);
  return {
    model: basename(path) === "model.gguf" ? basename(dirname(path)) : basename(path),
    prompt_tokens_per_s: median(runs.map((run) => run.prompt)),
    answer_tokens_per_s: median(runs.map((run) => run.answer)),
    left_to_mlx: leftToMlx() - before,
  };
}

/** Tokens a second of both. */
function answer(engine: Engine, prompt_ids: readonly number[], tokens_max: number) {
  const began_ms = performance.now();
  engine.add({
    ...{ id: 1, prompt_ids, tokens_max, tokens_min: 0, stop_token_ids: [], logprobs: null },
    ...{
      grammar: null,
      thought: null,
      prompt_logprobs: false,
      adapter: null,
      adapter_bytes_max: 0,
      urgency: { priority: PRIORITY.normal, waited_ms: 0 },
    },
    sampling: { ...PLAIN_SAMPLING, temperature: 0, seed: 0 },
  });
  let first_ms = 0;
  while (engine.rows > 0) {
    const [outcome] = engine.step();
    if (outcome?.kind === "failed") throw new Error(outcome.failure.message);
    if (first_ms === 0 && (outcome?.token_ids.length ?? 0) > 0) first_ms = performance.now();
  }
  const rest_ms = performance.now() - first_ms;
  return { prompt: (prompt_ids.length * 1000) / (first_ms - began_ms), answer: ((tokens_max - 1) * 1000) / rest_ms };
}

function leftToMlx(): number {
  if (process.platform !== "linux") return 0;
  const { symbols } = dlopen(LIBRARY, { bunsen_fallbacks: { args: ["ptr"], returns: "i32" } });
  symbols.bunsen_fallbacks(emptySlot());
  const text = slotHandle();
  const { native } = library();
  const data = native.mlx_string_data(text);
  const lines = data === null ? "" : new CString(data).toString();
  native.mlx_string_free(text);
  return [...lines.matchAll(/^\w+ (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}

function shown(all: readonly Figures[]): string {
  const rows = all.map((each) => [
    each.model,
    ...[each.prompt_tokens_per_s, each.answer_tokens_per_s, each.left_to_mlx].map((figure) => figure.toFixed(0)),
  ]);
  return table([["", "prompt", "answer", "left"], ...rows]);
}
