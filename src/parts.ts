/**
 * What the executable carries: native libraries and the default model, unpacked once under the data folder.
 * A folder is named by the hash of its files and moved into place whole, so it is complete or not there.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { Failure } from "./core/failure.ts";
import { removeLeftovers } from "./core/leftovers.ts";
import { DISK_FULL, writeTrouble } from "./core/write-trouble.ts";

export interface Parts {
  readonly library_folder: string | null;
  /** The GGUF file. */
  readonly default_model: string | null;
}

interface Bundle {
  readonly hash: string;
  readonly files: readonly { readonly name: string; readonly part: string; readonly bytes: number }[];
}

interface Manifest {
  readonly libraries?: Bundle;
  readonly model?: Bundle;
}

/** Unpacks what is missing under `data_folder`; from a source tree, gives what set-up has built. */
export async function unpackParts(data_folder: string): Promise<Parts> {
  const carried = new Map((Bun.embeddedFiles as readonly File[]).map((file) => [file.name, file]));
  const manifest_file = carried.get("manifest.part");
  if (manifest_file === undefined) return builtParts();
  const manifest: Manifest = await manifest_file.json();
  const folder = join(data_folder, "parts");
  const unpack = async (bundle: Bundle | undefined) => (bundle ? await unpackBundle(bundle, folder, carried) : null);
  const library_folder = await unpack(manifest.libraries);
  const model_folder = await unpack(manifest.model);
  return { library_folder, default_model: model_folder === null ? null : ggufIn(model_folder) };
}

// Large enough to write at disk speed, small enough not to show in the memory that is resident.
const COPY_BYTES = 8 * 2 ** 20;

function builtParts(): Parts {
  const build = join(import.meta.dir, "../build");
  const model_folder = join(build, "models/SmolLM2-135M-Instruct");
  return {
    library_folder: existsSync(join(build, "native")) ? join(build, "native") : null,
    default_model: existsSync(model_folder) ? ggufIn(model_folder) : null,
  };
}

function ggufIn(folder: string): string | null {
  const name = readdirSync(folder).find((file) => file.endsWith(".gguf"));
  return name === undefined ? null : join(folder, name);
}

async function unpackBundle(bundle: Bundle, parent: string, carried: ReadonlyMap<string, File>): Promise<string> {
  const folder = join(parent, bundle.hash);
  const aside = join(parent, `unpacking-${process.pid}-${bundle.hash}`);
  try {
    if (isComplete(bundle, folder)) return folder;
    mkdirSync(parent, { recursive: true });
    removeLeftovers(parent, /^unpacking-(\d+)-/);
    mkdirSync(aside);
    for (const { name, part } of bundle.files) {
      const file = carried.get(part);
      if (file === undefined) throw new Error(`the executable lacks ${part}`);
      await write(file, join(aside, name));
    }
    moveIntoPlace(bundle, aside, folder);
    return folder;
  } catch (error) {
    discard(aside);
    throw new Failure("unavailable", `Cannot unpack into ${parent}: ${reason(error, sizeOf(bundle))}`);
  }
}

function sizeOf(bundle: Bundle): number {
  return bundle.files.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Files are written once and moved in whole, so their size tells whether a later hand has cut or removed one. */
function isComplete(bundle: Bundle, folder: string): boolean {
  return bundle.files.every(
    ({ name, bytes }) => statSync(join(folder, name), { throwIfNoEntry: false })?.size === bytes,
  );
}

async function write(file: Blob, path: string): Promise<void> {
  const descriptor = openSync(path, "w", 0o755);
  try {
    for (let offset = 0; offset < file.size; offset += COPY_BYTES) {
      const bytes = new Uint8Array(await file.slice(offset, offset + COPY_BYTES).arrayBuffer());
      for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function moveIntoPlace(bundle: Bundle, aside: string, folder: string): void {
  try {
    renameSync(aside, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
    // Another first start was faster, or what is there is damaged.
    if (isComplete(bundle, folder)) rmSync(aside, { recursive: true });
    else {
      // Moved first: what takes its place must not wait for the removal, nor be removed with it.
      const damaged = `${aside}-damaged`;
      renameSync(folder, damaged);
      renameSync(aside, folder);
      rmSync(damaged, { recursive: true });
    }
  }
}

/** What cannot be removed now is a leftover of a later start; the error that led here says more. */
function discard(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {}
}

function reason(error: unknown, needed_bytes: number): string {
  const trouble = writeTrouble(error);
  if (trouble === null) return error instanceof Error ? error.message : String(error);
  const needed = trouble === DISK_FULL ? `, ${Math.ceil(needed_bytes / 1e6)} MB are needed` : "";
  return `${trouble}${needed}; BUNSEN_HOME names another folder`;
}
