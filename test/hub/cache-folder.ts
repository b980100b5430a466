/** Builds the folders that the Hugging Face client makes: blobs, snapshots of links to them, refs. */

import { mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { f32Entry, safetensorsBytes } from "../formats/safetensors-bytes.ts";
import { write } from "../formats/scratch.ts";

export const ONE_TENSOR = safetensorsBytes({ w: f32Entry(0, 1) }, 4);

export const MODEL_FILES: Readonly<Record<string, string | Uint8Array>> = {
  "config.json": "{}",
  "tokenizer.json": "{}",
  "model.safetensors": ONE_TENSOR,
};

/** null as content: a link whose blob has not arrived. Gives the snapshot's path. */
export function snapshot(
  cache: string,
  repository: string,
  revision: string,
  files: Readonly<Record<string, string | Uint8Array | null>>,
): string {
  const folder = join(cache, repository);
  const path = join(folder, "snapshots", revision);
  mkdirSync(path, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const blob = `${revision}-${name.replaceAll("/", "-")}`;
    if (content !== null) write(join(folder, "blobs", blob), content);
    mkdirSync(dirname(join(path, name)), { recursive: true });
    symlinkSync(join(folder, "blobs", blob), join(path, name));
  }
  return path;
}

export function reference(cache: string, repository: string, revision: string): void {
  write(join(cache, repository, "refs/main"), revision);
}
