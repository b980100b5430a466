/**
 * Finds the models that other programs keep: LM Studio, Ollama, llama.cpp. Reads their folders and manifests, and of a
 * file its first bytes.
 */

import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { ggufStem } from "../formats/gguf-parts.ts";
import { asObject } from "../formats/json.ts";
import { type FoundModel, ggufFiles, ggufModel, names, snapshotModels, weigh } from "./cache.ts";

/** Where each keeps its models; several where it has moved. */
export interface ProgramFolders {
  readonly lmstudio: readonly string[];
  readonly ollama: string;
  readonly llamacpp: string;
}

/** What cannot be read is left out; a program that is not there has no models. */
export function programModels(folders: ProgramFolders): FoundModel[] {
  return [
    ...folders.lmstudio.flatMap(lmstudioModels),
    ...ollamaModels(folders.ollama),
    ...llamacppModels(folders.llamacpp),
  ];
}

/** `publisher/repository/`, with the files as they were published. */
function lmstudioModels(folder: string): FoundModel[] {
  return names(folder).flatMap((publisher) =>
    names(join(folder, publisher)).flatMap((repository) =>
      snapshotModels(join(folder, publisher, repository), `${publisher}/${repository}`),
    ),
  );
}

/** Files of its downloads side by side. */
function llamacppModels(folder: string): FoundModel[] {
  return ggufFiles(folder).flatMap((file) => {
    const path = join(folder, file);
    return ggufModel(path, ggufStem(path)) ?? [];
  });
}

/** A manifest at `manifests/host/owner/name/tag` names the blobs of a model; its name here is as Ollama shows it. */
function ollamaModels(folder: string): FoundModel[] {
  const manifests = join(folder, "manifests");
  const below = (paths: readonly (readonly string[])[]) =>
    paths.flatMap((path) => names(join(manifests, ...path)).map((name) => [...path, name]));
  return below(below(below(below([[]])))).flatMap(([host = "", owner = "", name = "", tag = ""]) => {
    const path = modelBlob(folder, join(manifests, host, owner, name, tag));
    const weight = path === null ? null : weigh([path]);
    if (path === null || weight === null) return [];
    return [{ name: `${owner === "library" ? "" : `${owner}/`}${name}:${tag}`, path, ...weight }];
  });
}

const MODEL_LAYER = "application/vnd.ollama.image.model";
/** It changes the weights of the layer under it. */
const ADAPTER_LAYER = "application/vnd.ollama.image.adapter";

/** null unless the manifest has one blob of weights, all of it has arrived, and it is a GGUF file. */
function modelBlob(folder: string, manifest: string): string | null {
  try {
    const { layers } = asObject(JSON.parse(readFileSync(manifest, "utf8"))) ?? {};
    const entries = (Array.isArray(layers) ? layers : []).map((layer) => asObject(layer) ?? {});
    const [model, ...others] = entries.filter(({ mediaType }) => mediaType === MODEL_LAYER);
    if (others.length > 0 || entries.some(({ mediaType }) => mediaType === ADAPTER_LAYER)) return null;
    const digest = /^sha256:([0-9a-f]{64})$/.exec(String(model?.["digest"]))?.[1];
    if (digest === undefined) return null;
    const path = join(folder, "blobs", `sha256-${digest}`);
    return statSync(path).size === model?.["size"] && isGguf(path) ? path : null;
  } catch {
    return null;
  }
}

function isGguf(path: string): boolean {
  const file = openSync(path, "r");
  try {
    const magic = Buffer.alloc(4);
    readSync(file, magic, 0, magic.length, 0);
    return magic.toString("latin1") === "GGUF";
  } finally {
    closeSync(file);
  }
}
