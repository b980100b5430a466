/**
 * Finds adapters by name in the folders the user gave: each is one, or holds some. Looked for at every request, so they
 * may come and go.
 */

import { hash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { AdapterFiles } from "../core/adapter.ts";

export function findAdapter(folders: readonly string[], name: string): AdapterFiles | null {
  const folder = adapterFolders(folders).find((each) => basename(each) === name);
  return folder === undefined ? null : { name, folder, key: keyOf(folder) };
}

export function adapterNames(folders: readonly string[]): readonly string[] {
  return [...new Set(adapterFolders(folders).map((folder) => basename(folder)))];
}

function adapterFolders(folders: readonly string[]): readonly string[] {
  return folders.flatMap((given) => {
    const folder = resolve(given);
    if (isAdapter(folder)) return [folder];
    return entries(folder)
      .map((name) => join(folder, name))
      .filter(isAdapter);
  });
}

function isAdapter(folder: string): boolean {
  return existsSync(join(folder, "adapter_config.json"));
}

/** A folder that is not there holds none. */
function entries(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

function keyOf(folder: string): string {
  const facts = entries(folder).map((name) => {
    const stats = statSync(join(folder, name), { throwIfNoEntry: false });
    return [name, stats?.size, stats?.mtimeMs, stats?.ino].join();
  });
  return hash("sha256", [folder, ...facts].join("\n"), "base64url");
}
