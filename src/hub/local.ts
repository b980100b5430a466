/** Names the model at a path the user gave, or says what it lacks. Knows nothing of what is in a model's files. */

import { statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Failure } from "../core/failure.ts";
import { ggufParts, ggufStem, isLaterPart } from "../formats/gguf-parts.ts";
import { weightFiles } from "../formats/safetensors.ts";
import {
  FOLDER_PARTS,
  type FoundModel,
  ggufFiles,
  names,
  repositoryModels,
  repositoryOf,
  snapshotModels,
  weigh,
} from "./cache.ts";

/** `path`: a model folder, a GGUF file, or a repository folder of a Hugging Face cache. */
export function modelAt(path: string): FoundModel {
  const full = resolve(path);
  switch (kindOf(path, full)) {
    case "file":
      return fileModel(path, full);
    case "folder":
      return folderModel(path, full);
  }
}

function kindOf(path: string, full: string): "file" | "folder" {
  let stats: ReturnType<typeof statSync>;
  try {
    stats = statSync(full);
  } catch {
    throw refused("not_found", path, "there is no such file or folder, or it may not be read");
  }
  if (stats.isDirectory()) return "folder";
  if (stats.isFile()) return "file";
  throw refused("unsupported", path, "it is neither a file nor a folder");
}

function fileModel(path: string, full: string): FoundModel {
  if (!/\.gguf$/i.test(full)) throw refused("unsupported", path, "a file must be a .gguf; for others name the folder");
  if (isLaterPart(full)) {
    throw refused("unsupported", path, "it is a later part of a split GGUF, name the first one");
  }
  const repository = repositoryOf(full);
  const listed = repository === null ? [] : snapshotModels(dirname(full), repository);
  return listed.find((found) => found.path === full) ?? weighed(path, ggufStem(full), full, ggufParts(full));
}

function folderModel(path: string, full: string): FoundModel {
  const cached = repositoryModels(full);
  if (cached.length > 0) return onlyOf(path, cached);
  const repository = repositoryOf(full);
  const missing = FOLDER_PARTS.filter((part) => weigh([join(full, part)]) === null);
  const files = ggufFiles(full).map((file) => join(full, file));
  if (missing.length === 0 && (files.length === 0 || hasSafetensors(full))) {
    return weighed(path, repository ?? basename(full), full, weightFiles(full));
  }
  if (files.length === 0) throw refused("unavailable", path, `it has no ${missing.join(" and no ")}${tellOf(full)}`);
  return onlyOf(
    path,
    files.map((file) => weighed(path, repository ?? ggufStem(file), file, ggufParts(file))),
  );
}

function hasSafetensors(folder: string): boolean {
  return names(folder).some((name) => name.endsWith(".safetensors"));
}

/** What a folder that lacks a part has in its place. */
function tellOf(folder: string): string {
  const found = names(folder);
  if (found.includes("adapter_config.json")) return ', but is an adapter, whose folder the setting "adapters" takes';
  const vocabulary = found.find((name) => FOREIGN_TOKENIZERS.has(name));
  return vocabulary === undefined ? "" : `, and "${vocabulary}" is of a form that is not read`;
}

const FOREIGN_TOKENIZERS = new Set(["merges.txt", "tekken.json", "tokenizer.model", "vocab.json", "vocab.txt"]);

/** Enough to see how to write one. */
const CHOICES_SHOWN = 5;

/** The only one; several need the user's choice. */
function onlyOf(path: string, found: readonly FoundModel[]): FoundModel {
  const [model] = found;
  if (model !== undefined && found.length === 1) return model;
  const choices = found.slice(0, CHOICES_SHOWN).map((each) => `"${each.path}"`);
  if (found.length > CHOICES_SHOWN) choices.push("…");
  throw refused("unsupported", path, `it holds ${found.length} models, name one of ${choices.join(", ")}`);
}

function weighed(path: string, name: string, full: string, files: readonly string[]): FoundModel {
  const weight = weigh(files);
  if (weight === null) {
    const missing = files.find((file) => weigh([file]) === null) ?? full;
    throw refused("unavailable", path, `its file "${basename(missing)}" is missing or may not be read`);
  }
  return { name: name === "" ? "model" : name, path: full, ...weight };
}

function refused(kind: "not_found" | "unavailable" | "unsupported", path: string, state: string): Failure {
  return new Failure(kind, `Cannot use "${path}" as a model: ${state}`);
}
