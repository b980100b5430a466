/** A model that a path names. */

import { describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { cachedModels } from "../../src/hub/cache.ts";
import { modelAt } from "../../src/hub/local.ts";
import { failureOf, scratchFolder, write } from "../formats/scratch.ts";
import { MODEL_FILES, snapshot } from "./cache-folder.ts";

const FOLDER = scratchFolder();

function folderOf(name: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = join(FOLDER, name);
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of Object.entries(files)) write(join(folder, file), content);
  return folder;
}

function refusal(path: string): string {
  return failureOf(() => modelAt(path)).message.replaceAll(FOLDER, "FOLDER");
}

describe("modelAt()", () => {
  test("names a folder and a file as they are called", () => {
    const folder = folderOf("my-model", MODEL_FILES);
    expect(modelAt(`${folder}/`)).toMatchObject({ name: "my-model", path: folder });
    const file = write(join(FOLDER, "x.Q4_0.gguf"), "12345");
    expect(modelAt(file)).toMatchObject({ name: "x.Q4_0", path: file, bytes: 5 });
  });

  test("resolves a path from the current folder", () => {
    const folder = folderOf("relative", MODEL_FILES);
    const before = process.cwd();
    process.chdir(folder);
    try {
      expect(modelAt(".")).toMatchObject({ name: "relative" });
    } finally {
      process.chdir(before);
    }
  });

  test("keeps the name of a link", () => {
    const link = join(FOLDER, "alias");
    symlinkSync(folderOf("target", MODEL_FILES), link);
    expect(modelAt(link)).toMatchObject({ name: "alias", path: link });
  });

  test("takes the only GGUF of a folder and asks which of several", () => {
    const folder = folderOf("ggufs", { "a.gguf": "1", "mmproj-a.gguf": "1" });
    expect(modelAt(folder)).toMatchObject({ name: "a", path: join(folder, "a.gguf") });
    write(join(folder, "b.gguf"), "1");
    expect(refusal(folder)).toBe(
      'Cannot use "FOLDER/ggufs" as a model: it holds 2 models, name one of "FOLDER/ggufs/a.gguf", "FOLDER/ggufs/b.gguf"',
    );
  });

  test("gives every model of a cache the name and path of the listing", () => {
    const cache = join(FOLDER, "cache");
    snapshot(cache, "models--org--folder", "r", MODEL_FILES);
    snapshot(cache, "models--org--one", "r", { "x.gguf": "1" });
    snapshot(cache, "models--org--two", "r", { "x.gguf": "1", "y.gguf": "1" });
    const listed = cachedModels(cache);
    expect(listed).toHaveLength(4);
    expect(listed.map((model) => modelAt(model.path))).toEqual(listed);
    for (const [repository, name] of [
      ["models--org--folder", "org/folder"],
      ["models--org--one", "org/one"],
    ] as const) {
      expect(modelAt(join(cache, repository))).toMatchObject({ name });
      expect(modelAt(join(cache, repository, "snapshots/r"))).toMatchObject({ name });
    }
    expect(refusal(join(cache, "models--org--two"))).toContain("it holds 2 models, name one of");
  });

  test("says what a folder lacks", () => {
    expect(refusal(folderOf("empty", {}))).toBe(
      'Cannot use "FOLDER/empty" as a model: it has no config.json and no tokenizer.json',
    );
    expect(refusal(folderOf("no-config", { "tokenizer.json": "{}", "model.safetensors": "" }))).toBe(
      'Cannot use "FOLDER/no-config" as a model: it has no config.json',
    );
    expect(refusal(folderOf("no-weights", { "config.json": "{}", "tokenizer.json": "{}" }))).toBe(
      'Cannot read the model in "FOLDER/no-weights": it has no .safetensors file',
    );
  });

  test("takes the GGUF beside a config and a tokenizer without weights of their own", () => {
    const folder = folderOf("both", { "config.json": "{}", "tokenizer.json": "{}", "a.gguf": "1" });
    expect(modelAt(folder)).toMatchObject({ path: join(folder, "a.gguf") });
    write(join(folder, "model.safetensors"), "1");
    expect(modelAt(folder)).toMatchObject({ path: folder });
  });

  test.each([
    ["pytorch_model-00001-of-00002.bin"],
    ["pytorch_model.bin"],
    ["consolidated.00.pth"],
    ["weights.npz"],
    ["model_q4.onnx"],
    ["tf_model.h5"],
  ])("names weights in a form that is not read: %s", (name) => {
    const parts = { "config.json": "{}", "tokenizer.json": "{}", "training_args.bin": "1" };
    expect(refusal(folderOf(`foreign-${name}`, { ...parts, [name]: "1" }))).toBe(
      `Cannot read the model in "FOLDER/foreign-${name}": it has no .safetensors file, and "${name}" is of a form that is not read`,
    );
  });

  test("names a tokenizer in a form that is not read, and an adapter", () => {
    const parts = { "config.json": "{}", "model.safetensors": "1" };
    expect(refusal(folderOf("pieces", { ...parts, "tokenizer.model": "1" }))).toBe(
      'Cannot use "FOLDER/pieces" as a model: it has no tokenizer.json, and "tokenizer.model" is of a form that is not read',
    );
    expect(refusal(folderOf("lora", { "adapter_config.json": "{}", "adapter_model.safetensors": "1" }))).toBe(
      'Cannot use "FOLDER/lora" as a model: it has no config.json and no tokenizer.json, but is an adapter, whose folder the setting "adapters" takes',
    );
  });

  test("refuses what cannot be a model", () => {
    expect(failureOf(() => modelAt(join(FOLDER, "none"))).kind).toBe("not_found");
    expect(refusal(join(FOLDER, "none"))).toBe(
      'Cannot use "FOLDER/none" as a model: there is no such file or folder, or it may not be read',
    );
    expect(refusal(write(join(FOLDER, "m.safetensors"), ""))).toBe(
      'Cannot use "FOLDER/m.safetensors" as a model: a file must be a .gguf; for others name the folder',
    );
    expect(refusal(write(join(FOLDER, "m-00002-of-00002.gguf"), ""))).toBe(
      'Cannot use "FOLDER/m-00002-of-00002.gguf" as a model: it is a later part of a split GGUF, name the first one',
    );
    expect(refusal(write(join(FOLDER, "n-00001-of-00002.gguf"), ""))).toBe(
      'Cannot use "FOLDER/n-00001-of-00002.gguf" as a model: its file "n-00002-of-00002.gguf" is missing or may not be read',
    );
    expect(failureOf(() => modelAt("/dev/null")).message).toContain("it is neither a file nor a folder");
    expect(failureOf(() => modelAt("a\0b")).kind).toBe("not_found");
  });
});
