/** Which files a model is of, and whether one was written to since it was looked at. Knows nothing of what they hold. */

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { ggufParts } from "../formats/gguf-parts.ts";

const IF_THERE = { throwIfNoEntry: false } as const;

/** A file as it was. */
export interface FileStamp {
  readonly path: string;
  readonly inode: number;
  readonly bytes: number;
  readonly written_ms: number;
}

/** `path`: a Hugging Face folder or a GGUF file, of which it may be the first part. */
export function modelFiles(path: string): string[] {
  if (statSync(path, IF_THERE)?.isDirectory() !== true) return ggufParts(path);
  const names = readdirSync(path).filter((name) => /\.(?:json|safetensors)$/.test(name));
  return names.sort().map((name) => join(path, name));
}

/** Of the files that hold weights, which may be used where they lie. */
export function stampWeights(path: string): FileStamp[] {
  const files = modelFiles(path).filter((file) => !file.endsWith(".json"));
  return files.flatMap((file) => {
    const found = statSync(file, IF_THERE); // who reads it says best that it is not there
    return found ? [{ path: file, inode: found.ino, bytes: found.size, written_ms: found.mtimeMs }] : [];
  });
}

/** The first that was written to. One that was removed or replaced as a whole is still there for who has it open. */
export function findWritten(stamps: readonly FileStamp[]): string | null {
  const written = stamps.find(({ path, inode, bytes, written_ms }) => {
    const now = statSync(path, IF_THERE);
    return now?.ino === inode && (now.size !== bytes || now.mtimeMs !== written_ms);
  });
  return written?.path ?? null;
}
