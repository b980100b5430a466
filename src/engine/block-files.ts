/**
 * A folder of files under a cap of bytes: the least recently used goes first, by its modification time, so that the
 * order outlives the process. Whatever lies there counts, and trouble with the disk means only that nothing is kept.
 * Knows nothing of what the files hold, but that it is nobody else's.
 */

import { randomUUID } from "node:crypto";
import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  unlinkSync,
  utimesSync,
} from "node:fs";
import { rename, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

// Files that wait to be written are in memory. A disk that takes less than is evicted gets what it can.
const WAITING_BYTES_MAX = 64 * 2 ** 20;

// After a failed write, say on a full disk, none is tried for so long.
const PAUSE_MS = 60_000;

// Other processes may use the folder too. Counting a thousand files takes some 2 ms.
const COUNTED_MS = 1000;

interface Kept {
  readonly bytes: number;
  readonly used_ms: number;
}

interface Waiting {
  readonly contents: Uint8Array;
  readonly used_ms: number;
}

export class BlockFiles {
  readonly bytes_max: number;
  readonly #folder: string;
  /** Milliseconds since the epoch, and parts of them. */
  readonly now: () => number;
  #kept = new Map<string, Kept>();
  #bytes = 0;
  #counted_ms = 0;
  readonly #waiting = new Map<string, Waiting>();
  #writing: Promise<void> | null = null;
  #paused_until_ms = 0;

  /** More than `bytes_max` is removed at once. */
  constructor(folder: string, bytes_max: number, now: () => number) {
    this.#folder = folder;
    this.bytes_max = bytes_max;
    this.now = now;
    try {
      this.#count();
      this.#makeRoom(0);
    } catch {
      this.#pause();
    }
  }

  has(name: string): boolean {
    return this.#kept.has(name) || this.#waiting.has(name);
  }

  /** Whether a file of so many bytes would be taken now. */
  takes(bytes: number): boolean {
    const waiting_bytes = this.#waiting.values().reduce((sum, { contents }) => sum + contents.byteLength, bytes);
    const fits = waiting_bytes <= WAITING_BYTES_MAX || this.#waiting.size === 0; // a file larger than that waits alone
    return bytes <= this.bytes_max && fits && this.now() >= this.#paused_until_ms;
  }

  /** Keeps a file that has not been there, written behind; `contents` are no longer the caller's. */
  put(name: string, contents: Uint8Array, used_ms: number): void {
    this.#waiting.set(name, { contents, used_ms });
    this.#writing ??= this.#writeAll();
  }

  /** Notes that a file was of use. */
  touch(name: string, used_ms: number): void {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    try {
      utimesSync(join(this.#folder, name), used_ms / 1000, used_ms / 1000);
      this.#kept.set(name, { ...kept, used_ms });
    } catch {
      this.#forget(name);
    }
  }

  /** Fills `target` with the file; false when there is none of that length. */
  read(name: string, target: Uint8Array): boolean {
    const contents = this.#waiting.get(name)?.contents;
    if (contents !== undefined) {
      target.set(contents);
      return true;
    }
    if (this.#kept.get(name)?.bytes !== target.byteLength) return false;
    try {
      return readWhole(join(this.#folder, name), target);
    } catch {
      this.#forget(name);
      return false;
    }
  }

  /** Removes a file that is of no use. */
  remove(name: string): void {
    this.#waiting.delete(name);
    if (!this.#kept.has(name)) return;
    try {
      this.#unlink(name);
    } catch {
      this.#forget(name);
    }
  }

  /** When nothing waits to be written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    // What comes meanwhile is reached too.
    for (const [name, file] of this.#waiting) {
      await this.#write(name, file);
      this.#waiting.delete(name);
    }
    this.#writing = null;
  }

  async #write(name: string, { contents, used_ms }: Waiting): Promise<void> {
    if (this.now() < this.#paused_until_ms) return;
    const aside = join(this.#folder, `aside-${randomUUID()}`);
    try {
      if (this.now() - this.#counted_ms > COUNTED_MS) this.#count();
      this.#makeRoom(contents.byteLength);
      await writeFile(aside, contents, { mode: 0o600 });
      await utimes(aside, used_ms / 1000, used_ms / 1000);
      await rename(aside, join(this.#folder, name));
      this.#note(name, { bytes: contents.byteLength, used_ms });
    } catch {
      this.#pause();
      await unlink(aside).catch(() => undefined);
    }
  }

  #pause(): void {
    this.#paused_until_ms = this.now() + PAUSE_MS;
  }

  #makeRoom(bytes: number): void {
    while (this.#bytes + bytes > this.bytes_max) {
      const [oldest] = this.#kept.entries().reduce((old, one) => (one[1].used_ms < old[1].used_ms ? one : old));
      this.#unlink(oldest);
    }
  }

  #unlink(name: string): void {
    try {
      unlinkSync(join(this.#folder, name));
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
    this.#forget(name);
  }

  #count(): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    this.#kept = new Map(filesIn(this.#folder));
    this.#bytes = this.#kept.values().reduce((sum, { bytes }) => sum + bytes, 0);
    this.#counted_ms = this.now();
  }

  #note(name: string, kept: Kept): void {
    this.#forget(name);
    this.#kept.set(name, kept);
    this.#bytes += kept.bytes;
  }

  #forget(name: string): void {
    this.#bytes -= this.#kept.get(name)?.bytes ?? 0;
    this.#kept.delete(name);
  }
}

function filesIn(folder: string): [string, Kept][] {
  return readdirSync(folder).flatMap((name) => {
    // Another process may remove it between the two calls.
    const found = lstatSync(join(folder, name), { throwIfNoEntry: false });
    return found?.isFile() ? [[name, { bytes: found.size, used_ms: found.mtimeMs }] as const] : [];
  });
}

/** Whether the file has exactly the bytes of `target`. */
function readWhole(path: string, target: Uint8Array): boolean {
  const descriptor = openSync(path, "r");
  try {
    if (fstatSync(descriptor).size !== target.byteLength) return false;
    let done = 0;
    for (let got = -1; got !== 0 && done < target.byteLength; done += got)
      got = readSync(descriptor, target, done, target.byteLength - done, done);
    return done === target.byteLength;
  } finally {
    closeSync(descriptor);
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
