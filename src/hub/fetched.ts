/** What of Hugging Face's cache was fetched here, and how it goes again. What other programs put there stays. */

import { readdirSync, realpathSync } from "node:fs";
import { readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { Failure } from "../core/failure.ts";

/** In a repository's folder: a line for each file, its revision before it. */
const NOTE = ".bunsen-pulled";
const PART_OF_SPLIT = /-\d{5}-of-\d{5}\.gguf$/i;

export async function noteFetched(folder: string, revision: string, paths: readonly string[]): Promise<void> {
  const fresh = paths.map((path) => `${revision}/${path}`);
  await writeNote(folder, [...new Set([...(await readNote(folder)), ...fresh])]);
}

/** How the model at `path` is removed; throws a `Failure` where it was not fetched here. */
export async function removalOf(cache: string, name: string, path: string): Promise<() => Promise<void>> {
  const [, repository = "", revision = "", file = null] =
    /^(models--[^/]+)\/snapshots\/([^/]+)(?:\/(.+))?$/.exec(relative(cache, path)) ?? [];
  const folder = join(cache, repository);
  const noted = repository === "" ? [] : await readNote(folder);
  const wholeOf = (place: string) => place.replace(PART_OF_SPLIT, "");
  const isOfModel = (place: string) =>
    file === null
      ? place.startsWith(`${revision}/`) && !/\.gguf$/i.test(place)
      : wholeOf(place) === wholeOf(`${revision}/${file}`);
  const places = noted.filter(isOfModel);
  if (places.length > 0) return async () => await remove(folder, places, noted);
  throw new Failure(
    "unsupported",
    `Cannot delete model "${name}": it was not fetched by this server, and stays in ${path}`,
  );
}

async function remove(folder: string, places: readonly string[], noted: readonly string[]): Promise<void> {
  const snapshots = join(folder, "snapshots");
  const links = places.map((place) => join(snapshots, place));
  const blobs = links.flatMap(blobOf);
  for (const link of links) await rm(link, { force: true });
  const used = new Set(filesIn(snapshots).flatMap(blobOf));
  for (const blob of new Set(blobs)) if (!used.has(blob)) await rm(blob, { force: true });
  const is_empty = used.size === 0 && filesIn(join(folder, "blobs")).length === 0;
  if (is_empty) return await rm(folder, { recursive: true, force: true });
  await writeNote(
    folder,
    noted.filter((place) => !places.includes(place)),
  );
  for (const link of links) await removeEmpty(dirname(link), snapshots);
}

function blobOf(link: string): string[] {
  try {
    return [realpathSync(link)];
  } catch {
    return []; // it leads nowhere
  }
}

function filesIn(folder: string): string[] {
  try {
    const found = readdirSync(folder, { recursive: true, withFileTypes: true });
    return found.filter((entry) => !entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name));
  } catch {
    return [];
  }
}

/** Up to a folder that is left. */
async function removeEmpty(folder: string, last: string): Promise<void> {
  for (let each = folder; each !== last; each = dirname(each)) {
    const is_removed = await rmdir(each).then(
      () => true,
      () => false,
    );
    if (!is_removed) return;
  }
}

async function readNote(folder: string): Promise<readonly string[]> {
  const text = await readFile(join(folder, NOTE), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
}

async function writeNote(folder: string, places: readonly string[]): Promise<void> {
  await writeFile(join(folder, NOTE), places.map((place) => `${place}\n`).join(""));
}
