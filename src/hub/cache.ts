/**
 * Finds the models in a Hugging Face cache folder. Reads names, sizes and dates; knows nothing of what is in a model's
 * files.
 */

import { readdirSync, readFileSync, type Stats, statSync } from "node:fs";
import { basename, join, sep } from "node:path";
import { ggufParts, ggufStem, isLaterPart } from "../formats/gguf-parts.ts";
import { weightFiles } from "../formats/safetensors.ts";

export interface FoundModel {
  /** "org/name"; "org/name:FILE-STEM" for one of several GGUF files of a repository. */
  readonly name: string;
  /** A folder with config.json, or a GGUF file. */
  readonly path: string;
  /** Of its weights. */
  readonly bytes: number;
  /** Seconds since the epoch: when the youngest of its weights was changed. */
  readonly changed_s: number;
}

/** Every complete model of the cache, by name. What cannot be read is left out; a missing cache has no models. */
export function cachedModels(cache: string): FoundModel[] {
  return names(cache)
    .flatMap((repository) => repositoryModels(join(cache, repository)))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The models of one `models--org--name` folder. */
export function repositoryModels(repository: string): FoundModel[] {
  const name = repositoryName(basename(repository));
  const snapshot = name === null ? null : currentSnapshot(repository);
  return name === null || snapshot === null ? [] : snapshotModels(snapshot, name);
}

/** The models of one folder of files under the name of its repository. */
export function snapshotModels(snapshot: string, name: string): FoundModel[] {
  const folder = folderModel(snapshot, name);
  const files = ggufFiles(snapshot).flatMap((file) => ggufModel(join(snapshot, file), name) ?? []);
  const [only] = files;
  if (only === undefined || folder !== null || files.length > 1) {
    const several = files.map((model) => ({ ...model, name: `${name}:${ggufStem(model.path)}` }));
    return folder === null ? several : [folder, ...several];
  }
  return [only];
}

/** What a folder lacks to be a model, in the order they are looked for. */
export const FOLDER_PARTS = ["config.json", "tokenizer.json"] as const;

/** The GGUF files that are models, or the first parts of such, which often have a folder of their own: no image projectors. */
export function ggufFiles(folder: string): string[] {
  const found = names(folder).flatMap((name) => [name, ...names(join(folder, name)).map((below) => join(name, below))]);
  return found.filter(isGgufModel);
}

export function isGgufModel(name: string): boolean {
  return /\.gguf$/i.test(name) && !/mmproj/i.test(name) && !isLaterPart(name);
}

/** Where the cache keeps the repository "org/name". */
export function repositoryFolder(cache: string, name: string): string {
  return join(cache, `models--${name.replaceAll("/", "--")}`);
}

/** "models--org--name" → "org/name"; null for any other folder name. */
function repositoryName(folder: string): string | null {
  const name = /^models--(.+)$/.exec(folder)?.[1];
  return name === undefined ? null : name.replaceAll("--", "/");
}

/** The name of the repository whose snapshot a path lies in; null when it lies in none. */
export function repositoryOf(path: string): string | null {
  const parts = path.split(sep);
  const folder = parts[parts.lastIndexOf("snapshots") - 1];
  return folder === undefined ? null : repositoryName(folder);
}

/** Bytes and date of a set of files; null when one is missing. */
export function weigh(files: readonly string[]): { bytes: number; changed_s: number } | null {
  let bytes = 0;
  let changed_s = 0;
  for (const file of files) {
    const stats = statsOf(file);
    if (stats === null || !stats.isFile()) return null;
    bytes += stats.size;
    changed_s = Math.max(changed_s, Math.floor(stats.mtimeMs / 1000));
  }
  return { bytes, changed_s };
}

function folderModel(path: string, name: string): FoundModel | null {
  if (FOLDER_PARTS.some((part) => weigh([join(path, part)]) === null)) return null;
  try {
    const weight = weigh(weightFiles(path));
    return weight === null ? null : { name, path, ...weight };
  } catch {
    return null; // no weights, or not all of them: a download that has not finished
  }
}

/** null: a part of it is missing. */
export function ggufModel(path: string, name: string): FoundModel | null {
  const weight = weigh(ggufParts(path));
  return weight === null ? null : { name, path, ...weight };
}

/** The snapshot that `refs/main` names, else the youngest. */
function currentSnapshot(repository: string): string | null {
  const snapshots = join(repository, "snapshots");
  const revisions = names(snapshots);
  const main = mainRevision(repository);
  if (main !== null && revisions.includes(main)) return join(snapshots, main);
  const dated = revisions.map((revision) => {
    const path = join(snapshots, revision);
    return { path, changed_ms: statsOf(path)?.mtimeMs ?? 0 };
  });
  return dated.sort((a, b) => b.changed_ms - a.changed_ms)[0]?.path ?? null;
}

function mainRevision(repository: string): string | null {
  const file = join(repository, "refs", "main");
  try {
    // A revision is 40 digits; a larger file is something else.
    return statSync(file).size > 256 ? null : readFileSync(file, "utf8").trim();
  } catch {
    return null;
  }
}

function statsOf(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

/** What lies in a folder; one that cannot be read has nothing. */
export function names(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
