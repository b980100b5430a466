/**
 * What the executable carries (native libraries, the default model) as files that can be opened. Knows no meaning of them.
 * A folder of parts is named after its contents, is written aside and renamed: once it is there, it is whole.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { Failure } from "./core/failure.ts";

export interface Parts {
  readonly library_folder: string | null;
  /** A GGUF file. */
  readonly default_model: string | null;
}

/** One embedded file, as `compile.sh` lists it in `manifest.json`. */
interface Part {
  readonly name: string;
  readonly kind: "library" | "model" | "license";
  readonly bytes: number;
  readonly sha256: string;
}

/** Written in slices, so that the model is never in memory as a whole. */
const SLICE_BYTES = 8 * 1024 * 1024;
/** No unpacking takes this long; what is older was left by a process of another machine that shares the folder. */
const LEFTOVER_AGE_MS = 3_600_000;
const UNPACKING = ".unpacking";

/** The first start of an executable writes its parts below `data_folder`; later ones only look at names and sizes. */
export async function unpackParts(data_folder: string): Promise<Parts> {
  const embedded = new Map(Bun.embeddedFiles.map((blob) => [basename(nameOf(blob)), blob]));
  const manifest = embedded.get("manifest.json");
  if (manifest === undefined) return sourceParts();
  const all = JSON.parse(await manifest.text()) as readonly Part[];
  const shelf = new Shelf(join(data_folder, "parts"), embedded);
  const licenses = all.filter(({ kind }) => kind === "license");
  const libraries = all.filter(({ kind }) => kind === "library");
  const model = all.find(({ kind }) => kind === "model");
  return {
    library_folder: libraries.length === 0 ? null : await shelf.place("libraries", [...libraries, ...licenses]),
    default_model: model === undefined ? null : join(await shelf.place("model", [model, ...licenses]), model.name),
  };
}

/** In a source tree the parts lie where set-up built them. */
function sourceParts(): Parts {
  const build = join(import.meta.dir, "../build");
  const native = join(build, "native");
  const model = join(build, "models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
  return {
    library_folder: existsSync(native) ? native : null,
    default_model: existsSync(model) ? model : null,
  };
}

/** The folder of folders of parts. */
class Shelf {
  readonly #folder: string;
  readonly #embedded: ReadonlyMap<string, Blob>;

  constructor(folder: string, embedded: ReadonlyMap<string, Blob>) {
    this.#folder = folder;
    this.#embedded = embedded;
  }

  /** The folder that holds exactly these parts; writes it when it is not there whole. */
  async place(title: string, parts: readonly Part[]): Promise<string> {
    const target = join(this.#folder, `${title}-${fingerprint(parts)}`);
    if (isWhole(target, parts)) return target;
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await this.#removeLeftovers();
      await this.#write(target, parts);
    } catch (error) {
      throw explained(error, this.#folder, parts);
    }
    return target;
  }

  async #write(target: string, parts: readonly Part[]): Promise<void> {
    const aside = join(this.#folder, `${UNPACKING}-${machine()}-${process.pid}-${crypto.randomUUID()}`);
    try {
      await mkdir(aside, { mode: 0o700 });
      for (const part of parts) await this.#writePart(join(aside, part.name), part);
      await syncFolder(aside);
      await putInPlace(aside, target, parts);
      await syncFolder(this.#folder);
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
  }

  async #writePart(path: string, part: Part): Promise<void> {
    const blob = this.#embedded.get(part.name);
    const hash = createHash("sha256");
    await using file = await open(path, "wx", 0o600);
    for (let offset = 0; offset < part.bytes; offset += SLICE_BYTES) {
      const slice = new Uint8Array((await blob?.slice(offset, offset + SLICE_BYTES).arrayBuffer()) ?? []);
      hash.update(slice);
      await writeAll(file, slice);
    }
    const found = hash.digest("hex");
    if (found !== part.sha256) {
      const state = `its ${part.name} has SHA-256 ${found}, expected ${part.sha256}`;
      throw new Failure("unavailable", `Cannot start: this executable is damaged, ${state}`);
    }
    await file.sync();
  }

  /** Folders that a killed process did not finish: at once if it ran here, by age if it may run elsewhere. */
  async #removeLeftovers(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (!name.startsWith(`${UNPACKING}-`)) continue;
      const path = join(this.#folder, name);
      const [, place, pid] = name.slice(1).split("-");
      const dead = place === machine() && !isRunning(Number(pid));
      if (dead || (await ageMs(path)) > LEFTOVER_AGE_MS) await rm(path, { recursive: true, force: true });
    }
  }
}

/** Renames into place. A folder that is there already is either whole (another start was faster) or damaged and makes way. */
async function putInPlace(aside: string, target: string, parts: readonly Part[]): Promise<void> {
  try {
    await rename(aside, target);
  } catch (error) {
    if (isWhole(target, parts)) return;
    if (!isOccupied(error)) throw error;
    // A move, not a removal: a server that still runs from the damaged folder keeps its open files.
    const damaged = `${aside}-damaged`;
    await rename(target, damaged);
    await rename(aside, target);
    await rm(damaged, { recursive: true, force: true });
  }
}

/** By names and sizes only: what was renamed into place had its hashes checked, and reading it all again would cost each start. */
function isWhole(folder: string, parts: readonly Part[]): boolean {
  return parts.every(({ name, bytes }) => {
    const found = statSync(join(folder, name), { throwIfNoEntry: false });
    return found?.isFile() === true && found.size === bytes;
  });
}

function fingerprint(parts: readonly Part[]): string {
  const lines = parts.map(({ name, sha256 }) => `${sha256}  ${name}\n`).sort();
  return createHash("sha256").update(lines.join("")).digest("hex").slice(0, 16);
}

/** Which process ids are ours to judge: those of this host and, in a container, of this process namespace. */
function machine(): string {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // Not Linux: the host's name alone tells.
  }
  return createHash("sha256").update(`${hostname()} ${namespace}`).digest("hex").slice(0, 8);
}
