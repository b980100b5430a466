/** Folders that `quantize` wrote: mlx-lm loads them and draws what Bunsen draws; nothing is left behind by a failure. */

import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, truncateSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Quantization } from "../../src/mlx/ops.ts";
import { openDenseSource } from "../../src/models/dense-source.ts";
import { loadModel } from "../../src/models/load.ts";
import { quantizeModel } from "../../src/models/quantize.ts";
import { failureOf, scratchFolder, write } from "../formats/scratch.ts";
import "../open-mlx.ts";
import { python } from "../python.ts";
import { runToEnd } from "../served.ts";
import { type Expected, FIXTURES, prepareFixtures } from "./fixtures.ts";
import { greedy, lastLogits } from "./greedy.ts";

const OUT = scratchFolder();

// Below this the two best tokens are one to float32 rounding.
const EXCUSED_GAP = 0.01;

// Of the greatest logit, summed in another order.
const LOGIT_TOLERANCE = 2e-4;

const GGUF_FAMILIES = [
  ...[
    "cohere2",
    "gemma3",
    "glm4",
    "granite",
    "lfm2",
    "lfm2_moe",
    "mixtral",
    "olmo2",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_next-merged",
    "smollm3",
  ],
];
/** mlx-lm loads them, and computes another activation, other windows or other positions. */
const DEPARTING = ["gemma", "gemma2", "gpt_oss", "phi3", "starcoder2"];

const CASES = [
  ["untied", "affine", 4, 64],
  ["untied", "affine", 8, 32],
  ["untied", "affine", 3, 32],
  ["untied", "mxfp4", 4, 32],
  ["untied", "mxfp8", 8, 32],
  ["bfloat16", "nvfp4", 4, 16],
  ["sharded", "affine", 6, 64],
  ["bfloat16", "affine", 4, 32],
  ["family-qwen3", "affine", 4, 32],
  ["family-mixtral", "affine", 4, 32],
  ["family-qwen3_moe", "affine", 8, 64],
  ["family-qwen3_moe", "nvfp4", 4, 16],
  ["gguf-llama3", "mxfp8", 8, 32],
  ...GGUF_FAMILIES.map((name) => [`family-${name}-gguf`, "affine", 8, 32] as const),
] as const;

const folderOf = ([name, ...form]: (typeof CASES)[number]) => join(OUT, [name, ...form].join("-"));

/** The model of a fixture. */
function sourceOf(name: string): string {
  const path = join(FIXTURES, name);
  return name.includes("gguf") ? join(path, "model.gguf") : path;
}

type Told = Parameters<typeof quantizeModel>[3];

async function quantizePath(
  path: string,
  target: string,
  how: Quantization,
  told: Told = () => undefined,
  signal = new AbortController().signal,
): Promise<void> {
  using source = openDenseSource(path);
  await quantizeModel(source, target, how, told, signal);
}

const PLAIN = { mode: "affine", bits: 4, group_size: 64 } as const;

const departingFolder = (name: string) => join(OUT, `${name}-8bit`);

let said: Expected[] = [];

beforeAll(async () => {
  prepareFixtures();
  for (const one of CASES) {
    const [name, mode, bits, group_size] = one;
    const progress: number[] = [];
    await quantizePath(sourceOf(name), folderOf(one), { mode, bits, group_size }, (done, total) => {
      progress.push(done / total);
    });
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  }
  for (const name of DEPARTING) {
    // groups that most of their matrices are too narrow for: so these stay dense, in bfloat16
    const form = { mode: "affine", bits: 8, group_size: 128 } as const;
    await quantizePath(sourceOf(`family-${name}-gguf`), departingFolder(name), form);
  }
  const folders = [...CASES.map(folderOf), ...DEPARTING.map(departingFolder)];
  said = JSON.parse(python("test/models/teacher-folders.py", "20", ...folders));
}, 180_000);

test.each(CASES.map((one, index) => [folderOf(one).slice(OUT.length + 1), index] as const))("%s", (folder, index) => {
  using model = loadModel(join(OUT, folder));
  const expected = said[index];
  if (expected === undefined) throw new Error("no answer of mlx-lm's");
  const found = lastLogits(model, expected.prompt_ids);
  const worst = Math.max(...found.map((value, token) => Math.abs(value - (expected.logits[token] ?? Number.NaN))));
  expect(worst).toBeLessThan(LOGIT_TOLERANCE * Math.max(...expected.logits.map(Math.abs)));
  const drawn = greedy(model, expected.prompt_ids, expected.token_ids.length, 512);
  const differing = drawn.findIndex((token, step) => token !== expected.token_ids[step]);
  if (differing >= 0) expect(expected.gaps[differing]).toBeLessThan(EXCUSED_GAP);
});

test.each(DEPARTING)("%s from a GGUF file is the model that it was, but for rounding", (name) => {
  using before = loadModel(sourceOf(`family-${name}-gguf`));
  using after = loadModel(departingFolder(name));
  const prompt = Array.from({ length: 20 }, (_, place) => 7 * place + 1);
  const [expected, found] = [lastLogits(before, prompt), lastLogits(after, prompt)];
  const worst = Math.max(...found.map((value, token) => Math.abs(value - (expected[token] ?? Number.NaN))));
  expect(worst).toBeLessThan(0.25 * Math.max(...expected.map(Math.abs)));
});

test("factors of positions that no released model has are refused", () => {
  const failure = failureOf(() => openDenseSource(sourceOf("gguf-rope-factors")));
  expect(failure.message).toContain(
    "its factors of positions are not those of a scaling that config.json has a name for",
  );
});

test("a tensor of a layer that has no name in a folder is refused, and not left out", () => {
  const bytes = readFileSync(sourceOf("family-qwen3-gguf"));
  bytes.write("attn_x_norm", bytes.indexOf("blk.1.attn_q_norm.weight") + "blk.1.".length);
  const path = write(join(OUT, "unknown.gguf"), bytes);
  expect(failureOf(() => openDenseSource(path)).message).toBe(
    `Cannot quantise ${path}: nothing is known of its tensor "blk.1.attn_x_norm.weight", which would be left out`,
  );
});

test("the tokenizer's files come along, the config says the form, and old indexes stay behind", async () => {
  const [source, target] = [join(OUT, "source"), join(OUT, "target")];
  cpSync(join(FIXTURES, "sharded"), source, { recursive: true });
  write(join(source, "tokenizer.json"), "{}");
  write(join(source, "extra", "notes.txt"), "kept");
  await quantizePath(source, target, PLAIN);
  expect(readdirSync(target).sort()).toEqual([
    "config.json",
    "expected.json",
    "extra",
    "model.safetensors",
    "tokenizer.json",
  ]);
  const { quantization } = JSON.parse(readFileSync(join(target, "config.json"), "utf8"));
  expect(quantization).toEqual({ mode: "affine", bits: 4, group_size: 64 });
  await expect(quantizePath(source, target, PLAIN)).rejects.toThrow(`Cannot write ${target}: it is there already`);
  const twice = quantizePath(target, `${target}-2`, PLAIN);
  await expect(twice).rejects.toThrow(`Cannot quantise ${target}: it is quantised already`);
});

test("a file where a folder is needed is told in words", async () => {
  const target = join(write(join(OUT, "a-file"), ""), "within");
  const refused = quantizePath(sourceOf("untied"), target, PLAIN);
  await expect(refused).rejects.toThrow(`Cannot write ${target}: a file is where a folder is needed`);
});

test("who interrupts it leaves nothing behind, and what a killed one left goes with the next", async () => {
  const target = join(OUT, "interrupted");
  const stale = `${target}.partial-${spawnSync("true").pid}`;
  write(join(stale, "model.safetensors"), "half");
  const running = write(join(`${target}.partial-${process.ppid}`, "model.safetensors"), "still written");
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  const stopped = quantizePath(sourceOf("untied"), target, PLAIN, interrupt, interruption.signal);
  await expect(stopped).rejects.toThrow("Cannot quantise the model: it was interrupted");
  expect(readdirSync(OUT).filter((name) => name.startsWith("interrupted"))).toEqual([basename(dirname(running))]);
});

test("a failure in the midst leaves nothing behind", async () => {
  const source = join(OUT, "damaged");
  cpSync(join(FIXTURES, "untied"), source, { recursive: true });
  const stop = () => {
    truncateSync(join(source, "model.safetensors"), 2000);
  };
  const target = join(OUT, "broken");
  await expect(quantizePath(source, target, PLAIN, stop)).rejects.toThrow("model.safetensors");
  expect(readdirSync(OUT).filter((name) => name.startsWith("broken"))).toEqual([]);
});

test("the command writes a folder, and refuses a form that MLX does not have", async () => {
  const source = join(OUT, "whole");
  cpSync(join(FIXTURES, "untied"), source, { recursive: true });
  write(join(source, "tokenizer.json"), "{}");
  const run = async (...words: string[]) => {
    const { output, errors } = await runToEnd(["quantize", ...words], { home: OUT });
    return output + errors;
  };
  const target = join(OUT, "written");
  expect(await run(source, target, "--bits", "7")).toContain("7 bits in groups of 64 is not a form MLX has");
  expect(existsSync(target)).toBe(false);
  expect(await run(source, target, "--bits", "8", "--group-size", "32")).toBe(
    `${target} has 8 bits a weight in affine groups of 32\n`,
  );
  expect(existsSync(join(target, "model.safetensors"))).toBe(true);
  const file = sourceOf("gguf-stories");
  if (!existsSync(file)) return; // its tokenizer is among the shared data
  const from_file = join(OUT, "stories");
  expect(await run(file, from_file, "--mode", "mxfp8")).toBe(
    `${from_file} has 8 bits a weight in mxfp8 groups of 32\n`,
  );
  expect(readdirSync(from_file).sort()).toEqual([
    ...["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
  ]);
  expect(await run(sourceOf("family-qwen3-gguf"), join(OUT, "mute"))).toContain("tokenizer.ggml.model is missing");
  expect(existsSync(join(OUT, "mute"))).toBe(false);
});
