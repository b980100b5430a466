/** Where the MLX library is looked for. */

import { expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findLibrary } from "../../src/mlx/discovery.ts";

function folderWith(...files: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "bunsen-"));
  for (const file of files) writeFileSync(join(folder, file), "");
  return folder;
}

const own_folder = folderWith("libmlxc.so", "libmlxc.dylib");
const homebrew = folderWith("libmlxc.dylib");
const empty = folderWith();

test("a library the owner named wins over the own one", () => {
  const named = join(homebrew, "libmlxc.dylib");
  expect(findLibrary({ named, own_folder, homebrew_folders: [] }, "linux")).toBe(named);
});

test("a named library that is not there is refused, not passed over", () => {
  const find = () => findLibrary({ named: "/nowhere/libmlxc.so", own_folder, homebrew_folders: [] }, "linux");
  expect(find).toThrow("BUNSEN_MLX_LIBRARY names /nowhere/libmlxc.so, which is not there");
});

test("the own folder comes before Homebrew's, each with its platform's file", () => {
  expect(findLibrary({ named: null, own_folder, homebrew_folders: [homebrew] }, "darwin")).toBe(
    join(own_folder, "libmlxc.dylib"),
  );
  expect(findLibrary({ named: null, own_folder: empty, homebrew_folders: [homebrew] }, "darwin")).toBe(
    join(homebrew, "libmlxc.dylib"),
  );
  expect(findLibrary({ named: null, own_folder, homebrew_folders: [] }, "linux")).toBe(join(own_folder, "libmlxc.so"));
});

test("where there is none, the command that brings one is named", () => {
  const find = (platform: NodeJS.Platform) => () =>
    findLibrary({ named: null, own_folder: empty, homebrew_folders: [] }, platform);
  expect(find("darwin")).toThrow("brew install mlx-c");
  expect(find("linux")).toThrow("npm run setup");
});
