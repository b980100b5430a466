/** Which models the server is given, from the command line and from the machine. */

import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findModels } from "../../src/app.ts";
import type { Config } from "../../src/config.ts";
import { failureOf } from "../formats/scratch.ts";

const FOLDER = mkdtempSync(join(tmpdir(), "bunsen-models-"));
const NOTHING: Config = {
  data_folder: FOLDER,
  mlx_library: null,
  hub_folder: join(FOLDER, "no-hub"),
  program_folders: { lmstudio: [], ollama: join(FOLDER, "no-ollama"), llamacpp: join(FOLDER, "no-cache") },
  providers: [],
  hub_token: { token: null, file: "/nowhere" },
  layers: () => [],
};

/** A file that is a model by its name, which is all that is looked at. */
function file(...parts: string[]): string {
  const path = join(FOLDER, ...parts);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, "");
  return path;
}

test("models given by path are served under their names, in that order", () => {
  const { catalog, wanted } = findModels(NOTHING, [file("b.gguf"), file("a.gguf")], null);
  expect(wanted).toEqual(["b", "a"]);
  expect(catalog.models().map(({ name }) => name)).toEqual(["b", "a"]);
});

test("two different models of one name are refused, and both are named", () => {
  const [first, second] = [file("x", "model.gguf"), file("y", "model.gguf")];
  const failure = failureOf(() => findModels(NOTHING, [first, second], null));
  expect(failure.message).toBe(
    `Cannot serve two models as "model": "${first}" and "${second}" have the same name, rename one`,
  );
});

test("the same model given twice, however it is written, is one", () => {
  const path = file("z", "same.gguf");
  const { catalog, wanted } = findModels(NOTHING, [path, join(FOLDER, "x/../z/same.gguf"), path], null);
  expect(wanted).toEqual(["same"]);
  expect(catalog.models()).toHaveLength(1);
});

test("a model given by path goes before the built-in one of that name", () => {
  const own = file("SmolLM2-135M-Instruct.gguf");
  const { catalog, wanted } = findModels(NOTHING, [own], file("built-in.gguf"));
  expect(wanted).toEqual(["SmolLM2-135M-Instruct"]);
  expect(catalog.find("SmolLM2-135M-Instruct").path).toBe(own);
});
