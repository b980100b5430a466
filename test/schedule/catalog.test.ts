/** Which model is meant by the ways in which people write names. */

import { expect, test } from "bun:test";
import { NO_WISHES } from "../../src/core/generation.ts";
import { PLAIN_PROFILE } from "../../src/core/profile.ts";
import { Names } from "../../src/route/names.ts";
import { Catalog } from "../../src/schedule/catalog.ts";

const at = (name: string, path = `/models/${name}`) => ({ name, path, changed_s: 0, bytes: 1, sampling: NO_WISHES });
const MODELS = [
  at("SmolLM2-135M-Instruct", "/SmolLM2.gguf"),
  at("Org/Folder"),
  at("org/only", "/hub/only-Q8_0.gguf"),
  at("org/many:many-Q8_0", "/hub/many-Q8_0.gguf"),
  at("org/many:many-Q4_K_M", "/hub/many-Q4_K_M.gguf"),
  at("org/many:many-IQ4_XS", "/hub/many-IQ4_XS.gguf"),
];

test.each([
  ["smollm2-135m-instruct:latest", "SmolLM2-135M-Instruct"],
  ["SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"],
  ["hf.co/org/folder", "Org/Folder"],
  ["https://huggingface.co/Org/Folder:LATEST", "Org/Folder"],
  ["hf://org/only:q8_0", "org/only"],
  ["org/only", "org/only"],
  ["org/many:Q8_0", "org/many:many-Q8_0"],
  ["org/many", "org/many:many-Q4_K_M"],
  ["ORG/MANY:MANY-q4_k_m", "org/many:many-Q4_K_M"],
  ["org/only:Q4_K_M", null],
  ["org/many:XS", null],
  ["org/many:4_XS", null],
  ["org/folder:Q4_K_M", null],
  ["folder", null],
  ["", null],
])("%s means %p", (written, meant) => {
  expect(new Catalog(MODELS).spelled(written)).toBe(meant);
});

test("a profile is found in other letters, and its model by a name that people write", () => {
  const profile = { id: 1, ...PLAIN_PROFILE, name: "Coder", model: "org/many:q8_0" };
  const names = new Names(new Catalog(MODELS), () => [profile]);
  expect(names.resolve("coder:latest")).toEqual({ model: "org/many:many-Q8_0", profile });
  expect(names.record("CODER")?.name).toBe("Coder");
  expect(names.record("Org/Only:Q8_0")?.name).toBe("org/only");
  expect(names.has("none")).toBeFalse();
});

test("a model that comes later is listed and found, and takes nobody's name", () => {
  const catalog = new Catalog(MODELS);
  catalog.add(at("org/new"));
  catalog.add(at("Org/Folder", "/elsewhere"));
  catalog.add(at("org/only:only-Q8_0", "/hub/only-Q8_0.gguf"));
  expect(catalog.models().map(({ name }) => name)).toEqual([...MODELS.map(({ name }) => name), "org/new"]);
  expect(catalog.find("Org/Folder").path).toBe("/models/Org/Folder");
});
