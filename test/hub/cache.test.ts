/** Models in the Hugging Face cache, under their repository names. */

import { describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { cachedModels } from "../../src/hub/cache.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { MODEL_FILES, ONE_TENSOR, reference, snapshot } from "./cache-folder.ts";

const FOLDER = scratchFolder();
let caches = 0;
function freshCache(): string {
  return join(FOLDER, String(caches++));
}

function namesIn(cache: string): string[] {
  return cachedModels(cache).map((model) => model.name);
}

function filesWithout(name: string): Record<string, string | Uint8Array> {
  return Object.fromEntries(Object.entries(MODEL_FILES).filter(([each]) => each !== name));
}

describe("cachedModels()", () => {
  test("finds a folder model with its path, size and date", () => {
    const cache = freshCache();
    const path = snapshot(cache, "models--org--name", "abc", MODEL_FILES);
    utimesSync(join(cache, "models--org--name/blobs/abc-model.safetensors"), 1000, 1234.5);
    expect(cachedModels(cache)).toEqual([{ name: "org/name", path, bytes: ONE_TENSOR.length, changed_s: 1234 }]);
  });

  test("finds a repository without an organisation", () => {
    const cache = freshCache();
    snapshot(cache, "models--gpt2", "abc", MODEL_FILES);
    expect(namesIn(cache)).toEqual(["gpt2"]);
  });

  test("has no models where there is no cache", () => {
    expect(cachedModels("/nowhere/at/all")).toEqual([]);
    expect(cachedModels(write(join(FOLDER, "file"), ""))).toEqual([]);
  });

  test("takes the snapshot of refs/main, else the youngest", () => {
    const cache = freshCache();
    const path = snapshot(cache, "models--a--b", "old", MODEL_FILES);
    const young = snapshot(cache, "models--a--b", "young", MODEL_FILES);
    utimesSync(path, 1000, 1000);
    utimesSync(young, 2000, 2000);
    expect(cachedModels(cache)[0]?.path).toBe(young);
    reference(cache, "models--a--b", "old\n");
    expect(cachedModels(cache)[0]?.path).toBe(path);
    reference(cache, "models--a--b", "gone");
    expect(cachedModels(cache)[0]?.path).toBe(young);
    reference(cache, "models--a--b", "../../../elsewhere");
    expect(cachedModels(cache)[0]?.path).toBe(young);
  });

  test("names a single GGUF by its repository and several by their stems too", () => {
    const cache = freshCache();
    const one = snapshot(cache, "models--a--one", "r", { "x.Q4_0.gguf": "12345", "mmproj-x.gguf": "1" });
    snapshot(cache, "models--a--two", "r", { "x.Q4_0.gguf": "1", "x.Q8_0.gguf": "1" });
    expect(cachedModels(cache)[0]).toMatchObject({ name: "a/one", path: join(one, "x.Q4_0.gguf"), bytes: 5 });
    expect(namesIn(cache)).toEqual(["a/one", "a/two:x.Q4_0", "a/two:x.Q8_0"]);
  });

  test("finds a GGUF in parts as one model of the size of all, also where they have a folder of their own", () => {
    const cache = freshCache();
    const parts = { "Q4/x-Q4-00001-of-00002.gguf": "123", "Q4/x-Q4-00002-of-00002.gguf": "45", "x-Q8.gguf": "1" };
    const folder = snapshot(cache, "models--a--b", "r", parts);
    const [split, whole] = cachedModels(cache);
    expect(split).toMatchObject({ name: "a/b:x-Q4", path: join(folder, "Q4/x-Q4-00001-of-00002.gguf"), bytes: 5 });
    expect(whole).toMatchObject({ name: "a/b:x-Q8", bytes: 1 });
  });

  test("keeps the repository's name for the folder model beside a GGUF", () => {
    const cache = freshCache();
    snapshot(cache, "models--a--b", "r", { ...MODEL_FILES, "b-q4.gguf": "1" });
    expect(namesIn(cache)).toEqual(["a/b", "a/b:b-q4"]);
  });

  test("leaves out what is not a whole model", () => {
    const cache = freshCache();
    snapshot(cache, "models--a--no-config", "r", filesWithout("config.json"));
    snapshot(cache, "models--a--no-tokenizer", "r", filesWithout("tokenizer.json"));
    snapshot(cache, "models--a--no-weights", "r", filesWithout("model.safetensors"));
    snapshot(cache, "models--a--dangling", "r", { ...MODEL_FILES, "model.safetensors": null });
    snapshot(cache, "models--a--dangling-gguf", "r", { "x.gguf": null });
    snapshot(cache, "models--a--incomplete", "r", { "x.gguf.incomplete": "1" });
    snapshot(cache, "models--a--split", "r", { "x-00001-of-00003.gguf": "1", "x-00003-of-00003.gguf": "1" });
    snapshot(cache, "models--a--projector", "r", { "mmproj-model-f16.gguf": "1" });
    snapshot(cache, "models--a--shards", "r", {
      ...filesWithout("model.safetensors"),
      "model-00001-of-00002.safetensors": ONE_TENSOR,
    });
    snapshot(cache, "models--a--indexed", "r", {
      ...filesWithout("model.safetensors"),
      "model.safetensors.index.json": '{"weight_map":{"v":"a.safetensors","w":"b.safetensors"}}',
      "a.safetensors": ONE_TENSOR,
    });
    snapshot(cache, "models--a--broken-index", "r", { ...MODEL_FILES, "model.safetensors.index.json": "{" });
    snapshot(cache, "datasets--a--b", "r", MODEL_FILES);
    mkdirSync(join(cache, "models--a--empty"));
    mkdirSync(join(cache, "models--a--folder-as-file/snapshots/r/x.gguf"), { recursive: true });
    write(join(cache, "models--a--file"), "1");
    write(join(cache, "version.txt"), "1");
    symlinkSync("models--a--circle", join(cache, "models--a--circle"));
    snapshot(cache, "models--a--whole", "r", MODEL_FILES);
    expect(namesIn(cache)).toEqual(["a/whole"]);
  });

  test("does not fall back to an older snapshot while the current one is incomplete", () => {
    const cache = freshCache();
    snapshot(cache, "models--a--b", "old", MODEL_FILES);
    snapshot(cache, "models--a--b", "new", { ...MODEL_FILES, "model.safetensors": null });
    reference(cache, "models--a--b", "new");
    expect(namesIn(cache)).toEqual([]);
  });
});
