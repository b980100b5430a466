/** Models in the folders of other programs: found under the names those programs show, and nothing that is not whole. */

import { expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { programModels } from "../../src/hub/programs.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { fixture, prepareFixtures, STORIES } from "../models/fixtures.ts";
import { runToEnd, Served } from "../served.ts";
import { MODEL_FILES } from "./cache-folder.ts";

const HOME = scratchFolder();
const FOLDERS = {
  lmstudio: [join(HOME, ".lmstudio/models"), join(HOME, "none")],
  ollama: join(HOME, ".ollama/models"),
  llamacpp: join(HOME, ".cache/llama.cpp"),
};
const WEIGHTS = "application/vnd.ollama.image.model";
const PARAMETERS = "application/vnd.ollama.image.params";
const ADAPTER = "application/vnd.ollama.image.adapter";

/** `digit`: of which the blob's digest consists. */
function layer(digit: string, mediaType: string, bytes: string, size = bytes.length) {
  write(join(FOLDERS.ollama, "blobs", `sha256-${digit.repeat(64)}`), bytes);
  return { mediaType, digest: `sha256:${digit.repeat(64)}`, size };
}

function manifest(path: string, layers: readonly object[]): void {
  write(join(FOLDERS.ollama, "manifests/registry", path), JSON.stringify({ schemaVersion: 2, layers }));
}

const found = () => programModels(FOLDERS).map(({ name, path }) => [name, path.slice(HOME.length + 1)]);

test("nothing is found where no program is", () => {
  expect(found()).toEqual([]);
});

test("of LM Studio: repositories by publisher, folders and files", () => {
  const [folder = ""] = FOLDERS.lmstudio;
  for (const [name, bytes] of Object.entries(MODEL_FILES)) write(join(folder, "org/mlx", name), bytes);
  write(join(folder, "org/one/one-Q4_0.gguf"), "GGUF");
  write(join(folder, "org/one/mmproj-one.gguf"), "GGUF");
  write(join(folder, "org/unfinished/model.part"), "");
  expect(found()).toEqual([
    ["org/mlx", ".lmstudio/models/org/mlx"],
    ["org/one", ".lmstudio/models/org/one/one-Q4_0.gguf"],
  ]);
  rmSync(folder, { recursive: true });
});

test("of llama.cpp: what it has downloaded, but for a part that lacks the others", () => {
  write(join(FOLDERS.llamacpp, "org_repo_tiny-Q8_0.gguf"), "GGUF");
  write(join(FOLDERS.llamacpp, "org_repo_tiny-Q8_0.gguf.json"), "{}");
  write(join(FOLDERS.llamacpp, "large-00001-of-00002.gguf"), "GGUF");
  expect(found()).toEqual([["org_repo_tiny-Q8_0", ".cache/llama.cpp/org_repo_tiny-Q8_0.gguf"]]);
  rmSync(FOLDERS.llamacpp, { recursive: true });
});

test("of Ollama: plain GGUF under the name it shows, and only what has arrived", () => {
  const whole = layer("a", WEIGHTS, "GGUF and more");
  manifest("library/tiny/1b", [layer("b", PARAMETERS, "{}"), whole]);
  manifest("someone/tiny/latest", [whole]);
  manifest("library/other/form", [layer("c", WEIGHTS, "not one")]);
  manifest("library/cut/short", [layer("d", WEIGHTS, "GGUF", 9)]);
  manifest("library/adapted/latest", [whole, layer("e", ADAPTER, "GGUF")]);
  manifest("library/gone/latest", [{ ...whole, digest: `sha256:${"f".repeat(64)}` }]);
  manifest("library/outside/latest", [{ ...whole, digest: "sha256:../../secret" }]);
  write(join(FOLDERS.ollama, "manifests/registry/library/broken/latest"), "{");
  const path = `.ollama/models/blobs/sha256-${"a".repeat(64)}`;
  expect(found()).toEqual([
    ["tiny:1b", path],
    ["someone/tiny:latest", path],
  ]);
  rmSync(FOLDERS.ollama, { recursive: true });
});

test("they are served when the owner says so, and not otherwise", async () => {
  prepareFixtures();
  const bytes = readFileSync(fixture("gguf-stories").path, "latin1");
  const digest = "1".repeat(64);
  mkdirSync(join(FOLDERS.ollama, "blobs"), { recursive: true });
  symlinkSync(fixture("gguf-stories").path, join(FOLDERS.ollama, `blobs/sha256-${digest}`));
  manifest("library/stories/260k", [{ mediaType: WEIGHTS, digest: `sha256:${digest}`, size: bytes.length }]);
  cpSync(STORIES, join(FOLDERS.lmstudio[0] ?? "", "someone/stories"), { recursive: true });
  const given = { home: HOME, variables: { BUNSEN_PRELOAD_MODELS: "stories:260k" } };
  expect((await runToEnd(["models", "--json"], given)).output).not.toContain("stories");
  await using server = await Served.start(["--other-programs", "on"], given);
  expect(server.models).toEqual(["stories:260k"]);
  for (const model of ["stories:260k", "someone/stories"]) {
    const asked = { model, prompt: "Once upon a time", max_tokens: 3 };
    const { body } = await server.ask("POST", "/v1/completions", asked);
    expect(body).toMatchObject({ model, usage: { completion_tokens: 3 } });
  }
  expect(await server.stop()).toBe(0);
}, 60_000);
