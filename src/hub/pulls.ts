/**
 * Brings models of the hub into Hugging Face's cache, each once at a time however many ask for it. Knows no names but
 * the hub's.
 */

import { mkdir, readFile, rename, rm, stat, statfs, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { PullStep } from "../core/hub.ts";
import { bareName, splitName } from "../core/model-names.ts";
import { unlessAborted } from "../core/unless-aborted.ts";
import { repositoryFolder } from "./cache.ts";
import { filesOf } from "./choice.ts";
import { type HubAccess, type HubFile, type HubModel, isRepository, modelOnHub, placeOf } from "./client.ts";
import { bytesHere, download, PATIENCE, type Patience, type Wanted } from "./download.ts";
import { noteFetched } from "./fetched.ts";

export interface PullPlace {
  /** Hugging Face's cache. */
  readonly folder: string;
  /** Told which repository's folder has a new model. */
  readonly arrived: (repository_folder: string) => void;
  readonly patience?: Patience;
  /** On the disk that a folder lies on. */
  readonly bytesFree?: (folder: string) => Promise<number>;
}

export interface HubName {
  readonly repository: string;
  /** Of one of several GGUF files; null: the caller does not say. */
  readonly quantization: string | null;
}

/** "hf.co/org/name:Q4_K_M", "org/name" and the like. */
export function readHubName(name: string): HubName {
  const [repository, quantization] = splitName(bareName(name));
  if (isRepository(repository) && quantization !== "") return { repository, quantization };
  const state =
    'this server does not have it, and it is no name of a repository on the hub, as in "org/name" or "hf.co/org/name:Q4_K_M"';
  throw new Failure("not_found", `Cannot pull model "${name}": ${state}`, "model");
}

export class Pulls {
  readonly #place: PullPlace;
  readonly #running = new Map<string, Pull>();
  /** The last of each repository, for one at a time. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(place: PullPlace) {
    this.#place = place;
  }

  /** Ends with `done`, or throws; stops when the last that follows has left. */
  async *follow(access: HubAccess, name: HubName, signal: AbortSignal): AsyncGenerator<PullStep, void, undefined> {
    const key = `${name.repository}:${name.quantization ?? ""}`.toLowerCase();
    let pull = this.#running.get(key);
    while (pull?.is_stopped === true) {
      await unlessAborted(settled(pull.ended), signal); // it still has the file
      pull = this.#running.get(key);
    }
    if (pull === undefined) {
      pull = new Pull((told, stop) => this.#inTurn(access, name, stop, told));
      this.#running.set(key, pull);
      void settled(pull.ended).then(() => this.#running.delete(key));
    }
    yield* pull.follow(signal);
  }

  /** Two forms of one repository have files in common. */
  async #inTurn(access: HubAccess, name: HubName, signal: AbortSignal, told: (step: PullStep) => void): Promise<void> {
    told({ kind: "listing" });
    const model = await modelOnHub(access, name.repository, signal);
    const before = this.#turns.get(model.name) ?? Promise.resolve();
    const turn = unlessAborted(before, signal).then(async () => {
      await bring(this.#place, access, model, filesOf(model, name.quantization), signal, told);
      told({ kind: "done", model: [model.name, name.quantization ?? []].flat().join(":") });
    });
    const ended = Promise.all([before, settled(turn)]); // one that leaves meanwhile lets nobody go before
    this.#turns.set(model.name, ended);
    void ended.then(() => this.#turns.get(model.name) === ended && this.#turns.delete(model.name));
    await turn;
  }
}

async function settled(promise: Promise<unknown>): Promise<void> {
  await promise.catch(() => undefined);
}

/** One download, and those who follow it. */
class Pull {
  readonly ended: Promise<void>;
  readonly #steps: PullStep[] = [];
  readonly #stop = new AbortController();
  #followers = 0;
  #changed = Promise.withResolvers<void>();

  constructor(run: (told: (step: PullStep) => void, stop: AbortSignal) => Promise<void>) {
    this.ended = run((step) => this.#tell(step), this.#stop.signal);
    const change = () => this.#changed.resolve();
    this.ended.then(change, change);
  }

  /** Nobody follows any more. */
  get is_stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Whoever comes later hears first what was, in short. */
  async *follow(signal: AbortSignal): AsyncGenerator<PullStep, void, undefined> {
    this.#followers++;
    try {
      let place = 0;
      let told: PullStep | undefined;
      while (told?.kind !== "done") {
        const changed = this.#changed.promise;
        const step = this.#steps[place];
        if (step !== undefined && step !== told) {
          told = step;
          yield step;
        } else if (place < this.#steps.length - 1) place++;
        else await unlessAborted(Promise.race([changed, this.ended]), signal);
      }
    } finally {
      this.#followers--;
      if (this.#followers === 0) this.#stop.abort();
    }
  }

  /** Of each file only the last word is kept. */
  #tell(step: PullStep): void {
    const last = this.#steps.at(-1);
    const is_same = step.kind === "file" && last?.kind === "file" && last.digest === step.digest;
    this.#steps.splice(is_same ? -1 : this.#steps.length, 1, step);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

// Ten words a second are enough for a bar that moves.
const PROGRESS_MS = 100;

async function bring(
  place: PullPlace,
  access: HubAccess,
  model: HubModel,
  chosen: readonly HubFile[],
  signal: AbortSignal,
  told: (step: PullStep) => void,
): Promise<void> {
  const folder = repositoryFolder(place.folder, model.name);
  const files = chosen.map((file) => wantedOf(access, model, file, folder));
  await using _ = await lock(place.folder, model.name);
  await refuseIfFull(model.name, folder, files, place.bytesFree ?? bytesFree);
  for (const file of files) await fetched(file, place.patience ?? PATIENCE, signal, told);
  signal.throwIfAborted();
  told({ kind: "placing" });
  await putInPlace(folder, model.revision, files);
  const paths = files.map(({ path }) => path);
  await noteFetched(folder, model.revision, paths);
  place.arrived(folder);
}

function wantedOf(access: HubAccess, model: HubModel, { path, bytes, digest }: HubFile, folder: string): Wanted {
  if (bytes === null || digest === null) {
    const state = `the hub does not say how large "${path}" is and what its checksum is`;
    throw new Failure("upstream", `Cannot pull "${model.name}": ${state}`);
  }
  const target = join(folder, "blobs", digest.hex);
  return { access, model: model.name, path, place: placeOf(model, path), target, bytes, digest };
}

async function fetched(
  file: Wanted,
  patience: Patience,
  signal: AbortSignal,
  told: (step: PullStep) => void,
): Promise<void> {
  const { bytes: bytes_total, digest } = file;
  const tell = (bytes_here: number) => {
    told({
      kind: "file",
      digest: `${digest.kind === "git" ? "sha1" : "sha256"}:${digest.hex}`,
      bytes_total,
      bytes_here,
    });
  };
  if (await isWhole(file)) return tell(bytes_total);
  let told_ms = Number.NEGATIVE_INFINITY;
  await download(file, patience, signal, (bytes_here) => {
    const now_ms = performance.now();
    const is_whole = bytes_here === bytes_total;
    if (!is_whole && now_ms - told_ms < PROGRESS_MS) return;
    told_ms = now_ms;
    tell(bytes_here);
    if (is_whole && digest.kind === "sha256") told({ kind: "verifying" });
  });
}

/** It has the name of what is in it, and got it when that was checked. */
async function isWhole({ target, bytes }: Wanted): Promise<boolean> {
  return (await stat(target).catch(() => null))?.size === bytes;
}

async function refuseIfFull(
  model: string,
  folder: string,
  files: readonly Wanted[],
  free: (folder: string) => Promise<number>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  let missing = 0;
  for (const file of files) if (!(await isWhole(file))) missing += file.bytes - (await bytesHere(file.target));
  const bytes_free = await free(folder);
  if (missing <= bytes_free) return;
  const state = `${missing} bytes are to be fetched, and the disk of ${folder} has ${bytes_free} free`;
  throw new Failure("unavailable", `Cannot pull "${model}": ${state}`);
}

async function bytesFree(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** The last file makes it a model, and the revision's name the one that is served: neither before all is there. */
async function putInPlace(folder: string, revision: string, files: readonly Wanted[]): Promise<void> {
  const snapshot = join(folder, "snapshots", revision);
  for (const { path, target } of files) {
    const link = join(snapshot, path);
    await mkdir(dirname(link), { recursive: true });
    const fresh = `${link}.bunsen-part`;
    await rm(fresh, { force: true });
    await symlink(relative(dirname(link), target), fresh);
    await rename(fresh, link);
  }
  await mkdir(join(folder, "refs"), { recursive: true });
  const main = join(folder, "refs", "main");
  await writeFile(`${main}.bunsen-part`, revision);
  await rename(`${main}.bunsen-part`, main);
}

/** Two programs must not write the same files. A lock whose process is gone counts for nothing. */
async function lock(cache: string, model: string): Promise<AsyncDisposable> {
  const path = join(cache, ".locks", `bunsen-${model.replaceAll("/", "--")}.pid`);
  await mkdir(dirname(path), { recursive: true });
  const written = await writeFile(path, String(process.pid), { flag: "wx" }).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "EEXIST") return false;
      throw error;
    },
  );
  if (!written) {
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    if (owner !== process.pid && isRunning(owner)) {
      throw new Failure("unavailable", `Cannot pull "${model}": process ${owner} is fetching it`);
    }
    await writeFile(path, String(process.pid));
  }
  return { [Symbol.asyncDispose]: async () => await rm(path, { force: true }) };
}

function isRunning(process_id: number): boolean {
  if (!Number.isSafeInteger(process_id) || process_id <= 0) return false;
  try {
    return process.kill(process_id, 0);
  } catch (error) {
    assert(error instanceof Error && "code" in error, "the system says why");
    return error.code === "EPERM";
  }
}
