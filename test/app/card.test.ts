/** What a model's card and the commands `show` and `fit` tell, from headers alone. */

import { beforeAll, expect, test } from "bun:test";
import { cpSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cardReader, readCard } from "../../src/card.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { writeTinyEncoder } from "../models/encoder-files.ts";
import { FIXTURES, fixture, prepareFixtures } from "../models/fixtures.ts";
import { runToEnd } from "../served.ts";

const HOME = scratchFolder();

beforeAll(prepareFixtures, 120_000);

const bunsen = (...words: string[]) => runToEnd(words, { home: HOME });

/** A model as it is served: with a tokenizer. */
function servable(name: string, changes: Record<string, unknown> = {}): string {
  const folder = join(scratchFolder(), name);
  cpSync(join(FIXTURES, name), folder, { recursive: true });
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...changes }));
  write(join(folder, "tokenizer.json"), JSON.stringify({ model: { type: "BPE", vocab: {}, merges: [] } }));
  const template = "{% if enable_thinking %}{{ messages[0]['tools'] }}{% endif %}{{ documents }} tools";
  write(join(folder, "chat_template.jinja"), template);
  return folder;
}

test("a folder's card counts its weights by their form, packed ones as the numbers they hold", () => {
  const card = readCard(servable("affine-mixed"), 32);
  const of = (part: string) => card.quantization.find(({ form }) => form.startsWith(part))?.parameters;
  expect(of("4-bit affine in groups of 32")).toBe(2 * 256 * 64 + 3 * (2 * 64 * 64 + 32 * 64 + 2 * 192 * 64));
  expect(of("8-bit affine in groups of 32")).toBe(3 * 64 * 192);
  expect(of("f32")).toBe(3 * 32 * 64 + 7 * 64);
  expect(card).toMatchObject({
    family: "llama",
    purpose: "chat",
    context_length: 512,
    cache: { kind: "full", window: null, bits: 32, bytes_per_token: 2 * 3 * 32 * 4, bytes_per_text: 0 },
    chat_template_options: ["documents", "enable_thinking"],
    not_supported: [],
  });
});

test("what a model can do is what its chat template asks for", () => {
  const folder = servable("affine-4-64");
  const capabilities = (template: string) => {
    write(join(folder, "chat_template.jinja"), template);
    return readCard(folder, 32).capabilities;
  };
  const answers = ["chat", "completions"] as const;
  expect(capabilities("{{ messages }}")).toEqual([...answers]);
  expect(capabilities("{{ messages[0]['tools'] }}tools")).toEqual([...answers]);
  expect(capabilities("{% if tools %}{{ messages }}{% endif %}")).toEqual([...answers, "tools"]);
  expect(capabilities("{{ messages }}{% if enable_thinking %}<think>{% endif %}")).toEqual([...answers, "reasoning"]);
  rmSync(join(folder, "chat_template.jinja"));
  expect(readCard(folder, 32).capabilities).toEqual(["completions"]);
  expect(readCard(writeTinyEncoder(join(scratchFolder(), "encoder"), "bert", false), 32).capabilities).toEqual([
    "embeddings",
  ]);
});

test("files that have changed are read again, and those that have gone are told", () => {
  const card = cardReader(() => 32);
  const folder = servable("affine-4-64");
  const before = card(folder);
  expect(card(folder)).toBe(before);
  const config = join(folder, "config.json");
  writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, "utf8")), max_position_embeddings: 64 }));
  utimesSync(config, 1, Date.now() / 1000 + 10);
  expect(card(folder).context_length).toBe(64);
  rmSync(folder, { recursive: true });
  expect(() => card(folder)).toThrow(`Cannot read the model in ${folder}: it is not there any more`);
});

test("windows, recurrent layers, packed projections and a text within a model that sees are told", () => {
  expect(readCard(servable("family-olmo3"), 32).cache).toEqual({
    kind: "windowed",
    window: 24,
    bits: 32,
    bytes_per_token: 2 * 4 * 32 * 4,
    bytes_per_text: 0,
  });
  expect(readCard(servable("family-phi3"), 32).cache.bytes_per_token).toBe(2 * 4 * 32 * 4);
  expect(readCard(servable("family-lfm2"), 32).cache).toEqual({
    kind: "recurrent",
    window: null,
    bits: 32,
    bytes_per_token: 2 * 2 * 32 * 4,
    bytes_per_text: 3 * 2 * 64 * 4,
  });
  expect(readCard(servable("family-qwen3_next"), 32).cache).toMatchObject({
    kind: "recurrent",
    bytes_per_text: 3 * (3 * (2 * 2 * 16 + 4 * 24) + 4 * 16 * 24) * 4,
  });
  const sees = readCard(servable("family-gemma3", { vision_config: {} }), 32);
  expect(sees.cache.bytes_per_token).toBe(2 * 6 * 32 * 4);
  expect(sees.notes).toContain("its images are not read, its text is");
});

test("a GGUF file's card has its types and its context", () => {
  const card = readCard(fixture("gguf-Q4_1").path, 32);
  expect(card).toMatchObject({
    family: "llama",
    context_length: 512,
    not_supported: [expect.stringContaining("tokenizer")],
  });
  expect(card.quantization.map(({ form }) => form)).toEqual(["Q4_1", "F32"]);
});

test("what speaks against a model is told and does not hide the rest", () => {
  const card = readCard(servable("tied", { model_type: "mamba9", quantization_config: { quant_method: "gptq" } }), 32);
  expect(card.not_supported.join()).toMatch(/its family is "mamba9".*it is quantised by "gptq"/);
  expect(card.parameters).toBeGreaterThan(100_000);
});

test("show prints the card, and fit the bytes and whether they are there", async () => {
  const folder = servable("affine-4-64");
  expect((await bunsen("show", folder)).output).toMatch(
    /family +llama\n(?:.*\n)*weights +0\.\d MB: 4-bit affine in groups of 64 \(\d+ %\)/,
  );
  expect(JSON.parse((await bunsen("show", folder, "--json")).output)).toMatchObject({
    name: "affine-4-64",
    family: "llama",
  });
  const fits = await bunsen("fit", folder, "--json", "--context", "100");
  expect(JSON.parse(fits.output)).toMatchObject({ fits: true, context_length: 100, kv_bytes: 100 * 2 * 3 * 32 * 4 });
  expect(fits.code).toBe(0);
  const tight = await bunsen("fit", folder, "--memory-limit-mode", "gb", "--memory-limit-value", "0.001");
  expect(tight.output).toMatch(/needed +\d\.\d MB of 1\.0 MB that models may take here\nfits +no\n/);
  expect(tight.code).toBe(1);
}, 60_000);
