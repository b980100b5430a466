/**
 * Reads the header of a GGUF file (v2, v3): metadata and the place of every tensor. Trusts nothing in the file; knows
 * nothing of MLX.
 */

import { Failure, type FailureKind } from "../core/failure.ts";
import { escapedText } from "./escaped-text.ts";
import { FileBytes, shown } from "./file-bytes.ts";
import { GGML_TYPES } from "./ggml-types.ts";

/** 64-bit integers are numbers where a number holds them exactly, else bigints. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

export interface GgufTensor {
  readonly name: string;
  /** Path of the file that holds it. */
  readonly file: string;
  /** Row-major: the file stores dimensions the other way round. */
  readonly shape: readonly number[];
  /** "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0", … */
  readonly type: string;
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface Metadata extends Iterable<readonly [string, GgufValue]> {
  get(key: string): GgufValue | undefined;
}

export interface GgufFile {
  readonly path: string;
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/**
 * Throws a `Failure` that names the file, the tensor or key, what was expected and what was found.
 * A metadata string that is not UTF-8 keeps its odd bytes: byte b becomes the lone surrogate U+DC00 + b (Python's "surrogateescape").
 */
export function readGguf(path: string): GgufFile {
  using file = new FileBytes(path);
  const cursor = new Cursor(file);
  const counts = readCounts(cursor);
  const metadata = readMetadata(cursor, counts.metadata);
  const entries = readTensorEntries(cursor, counts.tensors);
  const alignment = alignmentOf(cursor, metadata);
  const data_start = Math.ceil(cursor.position / alignment) * alignment;
  return { path, metadata, tensors: placeTensors(cursor, entries, data_start, alignment) };
}

/** The largest vocabularies (262,144 tokens, 600,000 merges) need about 20 MiB; the rest is room. */
const HEADER_BYTES_MAX = 64 * 2 ** 20;
/** Array elements of a whole file: four arrays over the largest vocabularies are about 1.5 million. */
const ELEMENTS_MAX = 4_000_000;
/** Models of today have under 100 keys and under 2,000 tensors; mixtures with one tensor per expert reach 30,000. */
const METADATA_KEYS_MAX = 65_536;
const TENSORS_MAX = 65_536;
/** ggml's own limits for a tensor. */
const DIMENSIONS_MAX = 4;
/** The first read: enough for a vocabulary of 50,000 tokens. */
const FIRST_READ_BYTES = 4 * 2 ** 20;
const ALIGNMENT_DEFAULT = 32;

type Integer = number | bigint;

/** Moves through the header, reading more of the file as it goes. */
class Cursor {
  position = 0;
  elements_left = ELEMENTS_MAX;
  buffer: Buffer = Buffer.alloc(0);
  view = new DataView(this.buffer.buffer, 0, 0);
  readonly file: FileBytes;

  constructor(file: FileBytes) {
    this.file = file;
  }

  fail(kind: FailureKind, state: string): Failure {
    return new Failure(kind, `Cannot read "${this.file.path}": ${state}`);
  }

  damaged(state: string): Failure {
    return this.fail("unavailable", state);
  }

  /** Makes the next `length` bytes readable. */
  need(length: number, what: string): void {
    const end = this.position + length;
    if (end > this.buffer.length) this.#grow(end, what);
  }

  #grow(end: number, what: string): void {
    if (end > this.file.bytes) {
      throw this.damaged(`${what} needs ${end} bytes of file, the file has ${this.file.bytes}`);
    }
    if (end > HEADER_BYTES_MAX) {
      throw this.fail("unsupported", `${what} reaches beyond ${HEADER_BYTES_MAX} bytes, the most a header may take`);
    }
    const wanted = Math.max(end, FIRST_READ_BYTES, this.buffer.length * 2);
    const grown = Buffer.allocUnsafeSlow(Math.min(wanted, HEADER_BYTES_MAX, this.file.bytes));
    grown.set(this.buffer);
    this.file.readInto(grown.subarray(this.buffer.length), this.buffer.length, "the header");
    this.buffer = grown;
    this.view = new DataView(grown.buffer, grown.byteOffset, grown.length);
  }

  u32(what: string): number {
    this.need(4, what);
    const value = this.view.getUint32(this.position, true);
    this.position += 4;
    return value;
  }

  u64(what: string): Integer {
    this.need(8, what);
    const value = this.view.getBigUint64(this.position, true);
    this.position += 8;
    return narrow(value);
  }

  /** A 64-bit count, refused above `most`. */
  count(most: number, what: string): number {
    const value = this.u64(what);
    if (value > most) throw this.fail("unsupported", `${what} is ${value}, at most ${most} can be read`);
    return Number(value);
  }

  skip(length: number, what: string): void {
    this.need(length, what);
    this.position += length;
  }

  /** In one loop: a vocabulary has hundreds of thousands, and each start of the program walks them anew. */
  skipStrings(count: number, what: string): void {
    for (let index = 0; index < count; index++) {
      if (this.position + 8 > this.buffer.length) this.need(8, what);
      const { view, position } = this;
      const length = view.getUint32(position, true) + view.getUint32(position + 4, true) * 2 ** 32;
      this.position = position + 8;
      if (this.position + length > this.buffer.length) this.need(length, what);
      this.position += length;
    }
  }

  string(what: string): string {
    const start = this.position + 8;
    this.skipStrings(1, what);
    const text = this.buffer.toString("utf8", start, this.position);
    return text.includes(REPLACEMENT) ? escapedText(this.buffer.subarray(start, this.position)) : text;
  }

  /** A string that names something: it must be text. */
  name(what: string): string {
    const text = this.string(what);
    if (!text.isWellFormed()) throw this.damaged(`${what} is not UTF-8`);
    return text;
  }
}

function readCounts(cursor: Cursor): { tensors: number; metadata: number } {
  const magic = cursor.u32("the GGUF mark");
  if (magic !== MAGIC) {
    const found = cursor.buffer.toString("hex", 0, 4);
    throw cursor.damaged(`it is not a GGUF file: it begins with bytes ${found}, expected 47475546 ("GGUF")`);
  }
  const version = cursor.u32("the GGUF version");
  const swapped = cursor.view.getUint32(4, false);
  if (version > 0xffff && swapped <= 0xffff) {
    throw cursor.fail(
      "unsupported",
      `it is a big-endian GGUF file of version ${swapped}, expected a little-endian one`,
    );
  }
  if (version !== 2 && version !== 3) {
    throw cursor.fail("unsupported", `it is a GGUF file of version ${version}, expected version 2 or 3`);
  }
  const tensors = cursor.count(TENSORS_MAX, "the number of tensors");
  return { tensors, metadata: cursor.count(METADATA_KEYS_MAX, "the number of metadata keys") };
}

/** Checked and found; texts of a vocabulary are made of their bytes when they are asked for, which most never do. */
class LazyMetadata implements Metadata {
  readonly #values = new Map<string, GgufValue>();
  readonly #unread = new Map<string, () => GgufValue>();

  add(key: string, read: () => GgufValue): void {
    this.#unread.set(key, read);
  }

  has(key: string): boolean {
    return this.#unread.has(key);
  }

  get(key: string): GgufValue | undefined {
    const value = this.#values.get(key) ?? this.#unread.get(key)?.();
    if (value !== undefined) this.#values.set(key, value);
    return value;
  }

  *[Symbol.iterator](): Generator<readonly [string, GgufValue]> {
    for (const key of this.#unread.keys()) yield [key, this.get(key) ?? []];
  }
}

function readMetadata(cursor: Cursor, count: number): LazyMetadata {
  const metadata = new LazyMetadata();
  for (let index = 0; index < count; index++) {
    const key = cursor.name(`the name of metadata key ${index + 1} of ${count}`);
    const what = `metadata key "${shown(key)}"`;
    if (metadata.has(key)) throw cursor.damaged(`${what} occurs twice`);
    metadata.add(key, findValue(cursor, cursor.u32(what), what));
  }
  return metadata;
}

function findValue(cursor: Cursor, type: number, what: string): () => GgufValue {
  if (type === ARRAY) return findArray(cursor, what);
  const [value = 0] = type === STRING ? [cursor.string(what)] : readScalars(cursor, type, 1, what);
  return () => value;
}

function readScalars(cursor: Cursor, type: number, count: number, what: string): GgufValue[] {
  const scalar = scalarOf(cursor, type, what);
  cursor.need(count * scalar.bytes, what);
  const { view, position } = cursor;
  const values: GgufValue[] = [];
  for (let index = 0; index < count; index++) {
    const at = position + index * scalar.bytes;
    const value = scalar.read(view, at);
    if (value === null) throw cursor.damaged(`${what} holds a bool of value ${view.getUint8(at)}, expected 0 or 1`);
    values.push(value);
  }
  cursor.position = position + count * scalar.bytes;
  return values;
}

function scalarOf(cursor: Cursor, type: number, what: string): Scalar {
  const scalar = SCALARS[type];
  if (scalar === undefined) throw cursor.fail("unsupported", `${what} has value type ${type}, expected 0 to 12`);
  return scalar;
}

function findArray(cursor: Cursor, what: string): () => GgufValue {
  const type = cursor.u32(what);
  // The format allows it, no model needs it, and millions of empty arrays would cost a gigabyte.
  if (type === ARRAY) throw cursor.fail("unsupported", `${what} is an array of arrays`);
  const count = cursor.count(cursor.elements_left, `the length of ${what}`);
  cursor.elements_left -= count;
  const start = cursor.position;
  if (type === STRING) cursor.skipStrings(count, what);
  else if (type === BOOL)
    readScalars(cursor, type, count, what); // not every byte is one
  else cursor.skip(count * scalarOf(cursor, type, what).bytes, what);
  return () => {
    cursor.position = start; // what was found stays in its buffer
    if (type !== STRING) return readScalars(cursor, type, count, what);
    return Array.from({ length: count }, () => cursor.string(what));
  };
}

/** A tensor as the file lists it; `offset` counts from the start of the data. */
interface TensorEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: string;
  readonly offset: Integer;
  readonly bytes: number;
}

function readTensorEntries(cursor: Cursor, count: number): TensorEntry[] {
  const entries: TensorEntry[] = [];
  const names = new Set<string>();
  for (let index = 0; index < count; index++) {
    const name = cursor.name(`the name of tensor ${index + 1} of ${count}`);
    if (names.has(name)) throw cursor.damaged(`tensor "${shown(name)}" occurs twice`);
    names.add(name);
    entries.push(readTensorEntry(cursor, name));
  }
  return entries;
}

function readTensorEntry(cursor: Cursor, name: string): TensorEntry {
  const what = `tensor "${shown(name)}"`;
  const dimensions = cursor.u32(what);
  if (dimensions > DIMENSIONS_MAX) {
    throw cursor.damaged(`${what} has ${dimensions} dimensions, expected at most ${DIMENSIONS_MAX}`);
  }
  const shape: number[] = [];
  let elements = 1;
  for (let index = 0; index < dimensions; index++) {
    const size = cursor.u64(what);
    elements *= Number(size);
    if (size === 0) throw cursor.damaged(`${what} has a dimension of 0, expected at least 1`);
    if (!Number.isSafeInteger(elements)) throw cursor.damaged(`${what} has more elements than any file can hold`);
    shape.unshift(Number(size));
  }
  const number = cursor.u32(what);
  const type = GGML_TYPES.get(number);
  if (type === undefined) throw cursor.fail("unsupported", `${what} has type number ${number}, which is not known`);
  const row = shape.at(-1) ?? 1;
  if (row % type.block_elements !== 0) {
    const expected = `expected a multiple of ${type.block_elements} for ${type.name}`;
    throw cursor.damaged(`${what} has rows of ${row} elements, ${expected}`);
  }
  const bytes = (elements / type.block_elements) * type.block_bytes;
  return { name, shape, type: type.name, offset: cursor.u64(what), bytes };
}

function alignmentOf(cursor: Cursor, metadata: Metadata): number {
  const value = metadata.get("general.alignment") ?? ALIGNMENT_DEFAULT;
  const good = typeof value === "number" && value >= 1 && value < 2 ** 31 && Number.isInteger(Math.log2(value));
  if (good) return value;
  throw cursor.damaged(`metadata key "general.alignment" is ${shown(String(value))}, expected a power of two`);
}

function placeTensors(
  cursor: Cursor,
  entries: readonly TensorEntry[],
  data_start: number,
  alignment: number,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const entry of entries) {
    const what = `tensor "${shown(entry.name)}"`;
    const offset = data_start + Number(entry.offset);
    if (!Number.isSafeInteger(offset)) {
      throw cursor.damaged(`${what} lies at offset ${entry.offset}, which is outside any file`);
    }
    if (Number(entry.offset) % alignment !== 0) {
      throw cursor.damaged(`${what} lies at offset ${entry.offset}, expected a multiple of the alignment ${alignment}`);
    }
    if (offset + entry.bytes > cursor.file.bytes) {
      const place = `bytes ${offset} to ${offset + entry.bytes}`;
      throw cursor.damaged(
        `${what} takes ${place}, the file ends at ${cursor.file.bytes}: it is incomplete or damaged`,
      );
    }
    tensors.set(entry.name, { ...entry, file: cursor.file.path, offset });
  }
  checkOverlap(cursor, tensors);
  return tensors;
}

function checkOverlap(cursor: Cursor, tensors: ReadonlyMap<string, GgufTensor>): void {
  let before: GgufTensor | null = null;
  for (const tensor of [...tensors.values()].sort((a, b) => a.offset - b.offset)) {
    if (before !== null && before.offset + before.bytes > tensor.offset) {
      throw cursor.damaged(`tensors "${shown(before.name)}" and "${shown(tensor.name)}" overlap`);
    }
    before = tensor;
  }
}

/** What stands where bytes are no UTF-8. */
const REPLACEMENT = "\ufffd";
const MAGIC = 0x46554747; // "GGUF"
const BOOL = 7;
const STRING = 8;
const ARRAY = 9;

interface Scalar {
  readonly bytes: number;
  /** null: the bytes are no value of this type. */
  readonly read: (view: DataView, at: number) => number | bigint | boolean | null;
}

/** By the number of the value type; 8 and 9 are strings and arrays. */
const SCALARS: readonly (Scalar | undefined)[] = [
  { bytes: 1, read: (view, at) => view.getUint8(at) },
  { bytes: 1, read: (view, at) => view.getInt8(at) },
  { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  { bytes: 1, read: (view, at) => BOOLEANS[view.getUint8(at)] ?? null },
  undefined,
  undefined,
  { bytes: 8, read: (view, at) => narrow(view.getBigUint64(at, true)) },
  { bytes: 8, read: (view, at) => narrow(view.getBigInt64(at, true)) },
  { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
];
const BOOLEANS = [false, true];

function narrow(value: bigint): Integer {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
