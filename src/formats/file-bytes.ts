/** A model file opened for reading at given places; a short read is a `Failure`. Knows nothing of what the bytes mean. */

import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { Failure } from "../core/failure.ts";

/** One open descriptor; `using` or `dispose` closes it. */
export class FileBytes {
  readonly path: string;
  /** As it was when the file was opened. */
  readonly bytes: number;
  readonly #descriptor: number;
  #open = true;

  /** Throws a `Failure` when the path is not a readable regular file. */
  constructor(path: string) {
    this.path = path;
    try {
      // Asked before opening: opening a named pipe would wait for a writer for ever.
      if (!statSync(path).isFile()) throw new Failure("unavailable", `Cannot read "${path}": it is not a file`);
      this.#descriptor = openSync(path, "r");
      this.bytes = fstatSync(this.#descriptor).size;
    } catch (error) {
      throw unreadable(path, error);
    }
    this.#refusePointer();
  }

  /** A fresh copy of `length` bytes from `offset`; `what` names the part in a `Failure`. */
  read(offset: number, length: number, what: string): Uint8Array<ArrayBuffer> {
    this.#check(offset, length, what);
    let target: Uint8Array<ArrayBuffer>;
    try {
      target = new Uint8Array(length);
    } catch {
      throw new Failure("unavailable", `Cannot read ${what} of "${this.path}": no memory for its ${length} bytes`);
    }
    this.readInto(target, offset, what);
    return target;
  }

  /** Fills `target` from `offset`. */
  readInto(target: Uint8Array, offset: number, what: string): void {
    this.#check(offset, target.byteLength, what);
    let done = 0;
    while (done < target.byteLength) {
      const got = this.#readSome(target, done, offset + done);
      if (got === 0) {
        const state = `the file ends ${target.byteLength - done} bytes too early, it became shorter while it was read`;
        throw new Failure("unavailable", `Cannot read ${what} of "${this.path}": ${state}`);
      }
      done += got;
    }
  }

  /** The descriptor, for who reads bytes that the file has; it is closed with this. */
  lend(offset: number, length: number, what: string): number {
    this.#check(offset, length, what);
    return this.#descriptor;
  }

  dispose(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#descriptor);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** What a repository has in place of a large file that was not fetched with it. */
  #refusePointer(): void {
    if (this.bytes < POINTER.length || this.bytes > POINTER_BYTES_MAX) return;
    const start = Buffer.alloc(POINTER.length);
    this.readInto(start, 0, "the start");
    if (start.toString("latin1") !== POINTER) return;
    this.dispose();
    const state = 'it is a pointer of Git LFS in place of the file, which "git lfs pull" fetches';
    throw new Failure("unavailable", `Cannot read "${this.path}": ${state}`);
  }

  #check(offset: number, length: number, what: string): void {
    const inside = Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= this.bytes;
    if (inside) return;
    const state = `bytes ${offset} to ${offset + length} are outside the file of ${this.bytes} bytes`;
    throw new Failure("unavailable", `Cannot read ${what} of "${this.path}": ${state}`);
  }

  #readSome(target: Uint8Array, at: number, position: number): number {
    try {
      return readSync(this.#descriptor, target, at, target.byteLength - at, position);
    } catch (error) {
      throw unreadable(this.path, error);
    }
  }
}

/** Whether there is a regular file that may be looked at. */
export function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The sentence for an error of the file system. */
export function unreadable(path: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const state = SYSTEM_STATES.get(code) ?? (error instanceof Error ? error.message : String(error));
  return new Failure("unavailable", `Cannot read "${path}": ${state}`);
}

/** A name or value from a file, short enough for a sentence and harmless to a terminal. */
export function shown(text: string): string {
  const short = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
  return short.replace(/[\p{Cc}\p{Cs}]/gu, "\ufffd");
}

const POINTER = "version https://git-lfs.github.com/spec/";
/** As its specification has it. */
const POINTER_BYTES_MAX = 1024;

/** Longer than any real tensor name; a damaged file can claim megabytes. */
const SHOWN_MAX = 80;

const SYSTEM_STATES = new Map([
  ["ENOENT", "there is no such file or folder"],
  ["ENOTDIR", "a part of the path is not a folder"],
  ["EISDIR", "it is a folder"],
  ["EACCES", "permission denied"],
  ["EPERM", "permission denied"],
  ["ELOOP", "its symbolic links go in a circle"],
  ["ENAMETOOLONG", "the path is too long"],
  ["EMFILE", "too many files are open"],
]);
