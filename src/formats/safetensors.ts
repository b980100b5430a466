/** Finds the tensors of a `.safetensors` file or of a folder of them. Trusts nothing in the files; reads no tensor. */

import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { Failure } from "../core/failure.ts";
import { FileBytes, isFile, shown, unreadable } from "./file-bytes.ts";
import { asObject, parseJson, readJson } from "./json.ts";

export interface SafetensorsTensor {
  readonly name: string;
  /** Path of the file that holds it. */
  readonly file: string;
  /** "F32", "F16", "BF16", "U32", "I8", … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** All tensors of a model folder, by name. Throws a `Failure` that names the file and the tensor. */
export function readSafetensorsFolder(folder: string): ReadonlyMap<string, SafetensorsTensor> {
  const index = readIndex(folder);
  if (index !== null) return readIndexed(folder, index);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const file of weightFiles(folder)) {
    for (const tensor of readSafetensors(file).values()) addOnce(tensors, tensor);
  }
  return tensors;
}

function addOnce(tensors: Map<string, SafetensorsTensor>, tensor: SafetensorsTensor): void {
  const other = tensors.get(tensor.name);
  if (other !== undefined) {
    const state = `tensor "${shown(tensor.name)}" is also in "${basename(other.file)}"`;
    throw new Failure("unavailable", `Cannot read "${tensor.file}": ${state}`);
  }
  tensors.set(tensor.name, tensor);
}

/** All tensors of one file, by name. */
export function readSafetensors(path: string): ReadonlyMap<string, SafetensorsTensor> {
  using file = new FileBytes(path);
  const { header, data_start } = readHeader(file);
  const tensors: SafetensorsTensor[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.push(readEntry(file, name, entry, data_start));
  }
  checkContiguous(file, tensors, data_start);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

/**
 * The files that hold a folder's weights: those its index names, else `model.safetensors`, else every `*.safetensors`.
 * Throws a `Failure` when there is none or one of a numbered set is missing.
 */
export function weightFiles(folder: string): string[] {
  const index = readIndex(folder);
  const names = index === null ? unindexedFiles(folder) : [...new Set(index.values())];
  for (const name of names) {
    if (isFile(join(folder, name))) continue;
    const asking = index === null ? "the other parts of the model ask" : `"${INDEX}" asks`;
    throw new Failure(
      "unavailable",
      `Cannot read the model in "${folder}": ${asking} for "${shown(name)}", which is missing`,
    );
  }
  return names.map((name) => join(folder, name));
}

/** Of file names the first that holds weights as others store them, for a sentence that says what is not there. */
export function foreignWeights(names: readonly string[]): string {
  const found = names.find((name) => FOREIGN.test(basename(name)));
  return found === undefined ? "" : `, and "${shown(found)}" is of a form that is not read`;
}

const FOREIGN = /^(?:pytorch_|tf_|flax_)?(?:model|consolidated|weights)[\w.-]*\.(?:bin|ckpt|h5|msgpack|npz|onnx|pth?)$/;
const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";
/** A header takes about 120 bytes a tensor: this is room for 130,000 tensors in one file. */
const HEADER_BYTES_MAX = 16 * 2 ** 20;
/** The index of the largest mixtures of experts (90,000 tensors) has 9 MB. */
const INDEX_BYTES_MAX = 32 * 2 ** 20;
/** The largest models come in under 200 parts. */
const FILES_MAX = 1024;
/** No family stores a tensor of more than five. */
const DIMENSIONS_MAX = 8;

const DTYPE_BYTES = new Map([
  ["BOOL", 1],
  ["U8", 1],
  ["I8", 1],
  ["F8_E4M3", 1],
  ["F8_E5M2", 1],
  ["F8_E8M0", 1],
  ["U16", 2],
  ["I16", 2],
  ["F16", 2],
  ["BF16", 2],
  ["U32", 4],
  ["I32", 4],
  ["F32", 4],
  ["U64", 8],
  ["I64", 8],
  ["F64", 8],
  ["C64", 8],
]);

function readHeader(file: FileBytes): { header: Readonly<Record<string, unknown>>; data_start: number } {
  if (file.bytes < 8) throw damaged(file, `it has ${file.bytes} bytes, too few for a safetensors file`);
  const view = new DataView(file.read(0, 8, "the header length").buffer);
  const length = view.getBigUint64(0, true);
  if (length > HEADER_BYTES_MAX) {
    throw damaged(file, `its header claims ${length} bytes, at most ${HEADER_BYTES_MAX} are expected`);
  }
  const data_start = 8 + Number(length);
  if (data_start > file.bytes) {
    throw damaged(file, `its header needs ${data_start} bytes of file, the file has ${file.bytes}`);
  }
  const header = asObject(parseJson(file.read(8, Number(length), "the header"), `the header of "${file.path}"`));
  if (header === null) throw damaged(file, "its header is not a JSON object");
  return { header, data_start };
}

function readEntry(file: FileBytes, name: string, value: unknown, data_start: number): SafetensorsTensor {
  const what = `tensor "${shown(name)}"`;
  const entry = asObject(value) ?? {};
  const dtype = entry["dtype"];
  const shape = integers(entry["shape"], DIMENSIONS_MAX);
  const place = integers(entry["data_offsets"], 2);
  const [begin, end] = place ?? [];
  if (typeof dtype !== "string" || shape === null || begin === undefined || end === undefined) {
    throw damaged(file, `${what} lacks a readable dtype, shape or data_offsets`);
  }
  const item_bytes = DTYPE_BYTES.get(dtype);
  if (item_bytes === undefined) {
    throw new Failure(
      "unsupported",
      `Cannot read "${file.path}": ${what} has dtype "${shown(dtype)}", which is not known`,
    );
  }
  const expected = shape.reduce((product, size) => product * size, item_bytes);
  if (end - begin !== expected) {
    const found = `its offsets ${begin} to ${end} hold ${end - begin}`;
    throw damaged(file, `${what} (${dtype}, shape [${shape}]) needs ${expected} bytes, ${found}`);
  }
  if (data_start + end > file.bytes) {
    throw damaged(
      file,
      `${what} ends at byte ${data_start + end}, the file at ${file.bytes}: it is incomplete or damaged`,
    );
  }
  return { name, file: file.path, dtype, shape, offset: data_start + begin, bytes: expected };
}

/** The format demands that tensors follow each other without gap or overlap up to the end of the file. */
function checkContiguous(file: FileBytes, tensors: readonly SafetensorsTensor[], data_start: number): void {
  let end = data_start;
  // Empty tensors first among those at one place, else they would seem to overlap.
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset !== end) {
      throw damaged(file, `tensor "${shown(tensor.name)}" begins at byte ${tensor.offset}, expected ${end}`);
    }
    end += tensor.bytes;
  }
  if (end !== file.bytes) throw damaged(file, `its tensors end at byte ${end}, the file at ${file.bytes}`);
}

function readIndexed(folder: string, index: ReadonlyMap<string, string>): ReadonlyMap<string, SafetensorsTensor> {
  const files = new Map(weightFiles(folder).map((file) => [basename(file), readSafetensors(file)]));
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, file] of index) {
    const tensor = files.get(file)?.get(name);
    if (tensor === undefined) {
      const state = `tensor "${shown(name)}" is missing, "${INDEX}" says it is in this file`;
      throw new Failure("unavailable", `Cannot read "${join(folder, file)}": ${state}`);
    }
    tensors.set(name, tensor);
  }
  // an index may leave out what its files hold: others read it all the same
  for (const tensor of [...files.values()].flatMap((file) => [...file.values()])) {
    if (!index.has(tensor.name)) addOnce(tensors, tensor);
  }
  return tensors;
}

/** Tensor name → file name; null when the folder has no index. */
function readIndex(folder: string): Map<string, string> | null {
  const path = join(folder, INDEX);
  if (!isFile(path)) return null;
  const map = asObject(asObject(readJson(path, INDEX_BYTES_MAX))?.["weight_map"]);
  if (map === null) throw new Failure("unavailable", `Cannot read "${path}": it has no "weight_map" object`);
  const index = new Map<string, string>();
  for (const [tensor, file] of Object.entries(map)) {
    // A name that could leave the folder would let a model read any file of the machine.
    if (typeof file !== "string" || !/^[^/\\\0]+\.safetensors$/.test(file)) {
      const found = typeof file === "string" ? `"${shown(file)}"` : "no file";
      const state = `tensor "${shown(tensor)}" is in ${found}, expected a .safetensors file name`;
      throw new Failure("unavailable", `Cannot read "${path}": ${state}`);
    }
    index.set(tensor, file);
  }
  if (index.size === 0) throw new Failure("unavailable", `Cannot read "${path}": its "weight_map" is empty`);
  checkCount(path, new Set(index.values()).size);
  return index;
}

function unindexedFiles(folder: string): string[] {
  if (isFile(join(folder, SINGLE))) return [SINGLE];
  const all = listFolder(folder);
  const names = all.filter((name) => name.endsWith(".safetensors"));
  if (names.length === 0) {
    const state = `it has no .safetensors file${foreignWeights(all)}`;
    throw new Failure("unavailable", `Cannot read the model in "${folder}": ${state}`);
  }
  checkCount(folder, names.length);
  return withMissingParts(folder, names).sort();
}

/** Adds the parts that a name such as `model-00001-of-00003.safetensors` promises. */
function withMissingParts(folder: string, names: readonly string[]): string[] {
  const all = new Set(names);
  for (const name of names) {
    const match = /^(.*)-(\d{5})-of-(\d{5})\.safetensors$/.exec(name);
    const count = Number(match?.[3] ?? 0);
    checkCount(folder, count);
    for (let part = 1; part <= count; part++) {
      all.add(`${match?.[1]}-${String(part).padStart(5, "0")}-of-${match?.[3]}.safetensors`);
    }
  }
  return [...all];
}

function checkCount(path: string, count: number): void {
  if (count <= FILES_MAX) return;
  throw new Failure(
    "unsupported",
    `Cannot read "${path}": the model has ${count} files, at most ${FILES_MAX} are read`,
  );
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    throw unreadable(folder, error);
  }
}

/** At most `count` integers of 0 to 2^53; null when the value is anything else. */
function integers(value: unknown, count: number): number[] | null {
  if (!Array.isArray(value) || value.length > count) return null;
  return value.every((item): item is number => Number.isSafeInteger(item) && item >= 0) ? value : null;
}

function damaged(file: FileBytes, state: string): Failure {
  return new Failure("unavailable", `Cannot read "${file.path}": ${state}`);
}
