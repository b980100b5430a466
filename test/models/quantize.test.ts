/** Folders that `quantize` wrote: mlx-lm loads them and draws what Bunsen draws; nothing is left behind by a failure. */

import { beforeAll, expect, test } from "bun:test";
import { cpSync, existsSync, readdirSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { loadModel } from "../../src/models/load.ts";
import { quantizeFolder } from "../../src/models/quantize.ts";
import { failureOf, scratchFolder, write } from "../formats/scratch.ts";
import "../open-mlx.ts";
import { python } from "../python.ts";
import { ROOT } from "../root.ts";
import { type Expected, FIXTURES, prepareFixtures } from "./fixtures.ts";
import { greedy, lastLogits } from "./greedy.ts";

const OUT = scratchFolder();

// Below this the two best tokens are one to float32 rounding.
const EXCUSED_GAP = 0.01;

// Of the greatest logit, summed in another order.
const LOGIT_TOLERANCE = 2e-4;

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
] as const;

const folderOf = ([name, ...form]: (typeof CASES)[number]) => join(OUT, [name, ...form].join("-"));

let said: Expected[] = [];

beforeAll(() => {
  prepareFixtures();
  for (const one of CASES) {
    const [name, mode, bits, group_size] = one;
    const progress: number[] = [];
    quantizeFolder(join(FIXTURES, name), folderOf(one), { mode, bits, group_size }, (done, total) => {
      progress.push(done / total);
    });
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  }
  said = JSON.parse(python("test/models/teacher-folders.py", "20", ...CASES.map(folderOf)));
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

test("the tokenizer's files come along, the config says the form, and old indexes stay behind", () => {
  const [source, target] = [join(OUT, "source"), join(OUT, "target")];
  cpSync(join(FIXTURES, "sharded"), source, { recursive: true });
  write(join(source, "tokenizer.json"), "{}");
  write(join(source, "extra", "notes.txt"), "kept");
  quantizeFolder(source, target, { mode: "affine", bits: 4, group_size: 64 }, () => undefined);
  expect(readdirSync(target).sort()).toEqual([
    "config.json",
    "expected.json",
    "extra",
    "model.safetensors",
    "tokenizer.json",
  ]);
  const { quantization } = JSON.parse(readFileSync(join(target, "config.json"), "utf8"));
  expect(quantization).toEqual({ mode: "affine", bits: 4, group_size: 64 });
  const again = failureOf(() =>
    quantizeFolder(source, target, { mode: "affine", bits: 4, group_size: 64 }, () => undefined),
  );
  expect(again.message).toBe(`Cannot write ${target}: it is there already`);
  const twice = failureOf(() =>
    quantizeFolder(target, `${target}-2`, { mode: "affine", bits: 4, group_size: 64 }, () => undefined),
  );
  expect(twice.message).toBe(`Cannot quantise ${target}: it is quantised already`);
});

test("a failure in the midst leaves nothing behind", () => {
  const source = join(OUT, "damaged");
  cpSync(join(FIXTURES, "untied"), source, { recursive: true });
  const stop = () => {
    truncateSync(join(source, "model.safetensors"), 2000);
  };
  const target = join(OUT, "broken");
  const failure = failureOf(() => quantizeFolder(source, target, { mode: "affine", bits: 4, group_size: 64 }, stop));
  expect(failure.message).toContain("model.safetensors");
  expect(readdirSync(OUT).filter((name) => name.startsWith("broken"))).toEqual([]);
});

test("the command writes a folder, and refuses a form that MLX does not have", () => {
  const source = join(OUT, "whole");
  cpSync(join(FIXTURES, "untied"), source, { recursive: true });
  write(join(source, "tokenizer.json"), "{}");
  const run = (...words: string[]) => {
    const env = { PATH: process.env["PATH"], HOME: OUT };
    const { stdout, stderr } = Bun.spawnSync([process.execPath, join(ROOT, "src/main.ts"), "quantize", ...words], {
      env,
    });
    return stdout.toString() + stderr.toString();
  };
  const target = join(OUT, "written");
  expect(run(source, target, "--bits", "7")).toContain("7 bits in groups of 64 is not a form MLX has");
  expect(existsSync(target)).toBe(false);
  expect(run(source, target, "--bits", "8", "--group-size", "32")).toBe(
    `${target} has 8 bits a weight in affine groups of 32\n`,
  );
  expect(existsSync(join(target, "model.safetensors"))).toBe(true);
});
