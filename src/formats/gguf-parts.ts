/** A GGUF model in one file, or in the parts that llama-gguf-split writes, as one. Knows nothing of what is in it. */

import { basename } from "node:path";
import { Failure } from "../core/failure.ts";
import { isFile, shown } from "./file-bytes.ts";
import { type GgufFile, type GgufTensor, readGguf } from "./gguf.ts";

/** `path`: the file, or the first part. Throws a `Failure` where a part is missing or is none of this model. */
export function readGgufModel(path: string): GgufFile {
  const first = readGguf(path);
  const { number, count } = placeOf(first);
  if (count === 1) return first;
  if (number !== 1) throw refusal(path, `it is part ${number} of ${count}, to be named is the first`);
  const paths = ggufParts(path);
  if (paths.length !== count) {
    const ending = `-00001-of-${fiveDigits(count)}.gguf`;
    throw refusal(path, `it is the first of ${count} parts, whose names must end as in "${ending}"`);
  }
  const tensors = new Map<string, GgufTensor>();
  for (const [index, part] of paths.entries()) {
    for (const tensor of index === 0 ? first.tensors.values() : readPart(first, part, index + 1, count)) {
      const other = tensors.get(tensor.name);
      if (other !== undefined) {
        throw refusal(part, `tensor "${shown(tensor.name)}" is also in "${basename(other.file)}"`);
      }
      tensors.set(tensor.name, tensor);
    }
  }
  const expected = first.metadata.get("split.tensors.count") ?? tensors.size;
  if (expected !== tensors.size) {
    throw refusal(path, `it says that all parts have ${shown(String(expected))} tensors, found ${tensors.size}`);
  }
  return { ...first, tensors };
}

/** The files of the model that begins with this one, as its name tells; none is looked at. */
export function ggufParts(path: string): string[] {
  const { stem, number, count } = nameOf(path) ?? { stem: path, number: 0, count: 0 };
  if (number !== 1 || count > PARTS_MAX) return [path];
  return Array.from({ length: count }, (_, index) => `${stem}-${fiveDigits(index + 1)}-of-${fiveDigits(count)}.gguf`);
}

/** Whether the file's name is that of a part, but not the first. */
export function isLaterPart(path: string): boolean {
  return (nameOf(path)?.number ?? 1) !== 1;
}

/** The name of a file without what tells that it is one, or the first part of one. */
export function ggufStem(path: string): string {
  return basename(nameOf(path)?.stem ?? path.replace(/\.gguf$/i, ""));
}

/** The largest models come in under 200 parts. */
const PARTS_MAX = 1024;

function nameOf(path: string): { stem: string; number: number; count: number } | null {
  const [, stem, number, count] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/is.exec(path) ?? [];
  return stem === undefined ? null : { stem, number: Number(number), count: Number(count) };
}

function fiveDigits(number: number): string {
  return String(number).padStart(5, "0");
}

/** What the file says of itself: its number among the parts, from 1 on. */
function placeOf({ path, metadata }: GgufFile): { number: number; count: number } {
  const [index, count] = [metadata.get("split.no") ?? 0, metadata.get("split.count") ?? 1];
  const is_good = typeof index === "number" && typeof count === "number" && index >= 0 && index < Math.max(1, count);
  if (is_good && Number.isInteger(index) && Number.isInteger(count) && count <= PARTS_MAX) {
    return { number: index + 1, count: Math.max(1, count) };
  }
  const found = `split.no ${shown(String(index))} and split.count ${shown(String(count))}`;
  throw refusal(path, `it has ${found}, expected a number below a count of at most ${PARTS_MAX}`);
}

function readPart(first: GgufFile, path: string, number: number, count: number): Iterable<GgufTensor> {
  if (!isFile(path)) throw refusal(first.path, `its part "${basename(path)}" is missing`);
  const part = readGguf(path);
  const place = placeOf(part);
  if (place.number === number && place.count === count) return part.tensors.values();
  throw refusal(path, `it says that it is part ${place.number} of ${place.count}, expected part ${number} of ${count}`);
}

function refusal(path: string, state: string): Failure {
  return new Failure("unavailable", `Cannot read "${path}": ${state}`);
}
