/**
 * Blocks of the prefix cache on disk, beyond the memory and the process. A file is believed only when it says of itself
 * what is asked and its checksum holds: anything else is a miss, and is removed. Knows files and bytes, not tensors.
 */

import { hash } from "node:crypto";
import { statSync } from "node:fs";
import type { EngineSettings } from "../core/settings.ts";
import type { CacheShape } from "../models/family.ts";
import { modelFiles } from "../models/model-files.ts";
import type { BlockFiles } from "./block-files.ts";
import type { BlockContent, BlockTier } from "./block-store.ts";

/** The tensors of the blocks, as bytes: of each piece of one by itself, where it comes in several. */
export interface BlockMemory {
  save(block: number, bytes: Uint8Array, piece: number): void;
  load(block: number, bytes: Uint8Array, piece: number): void;
}

export class DiskTier implements BlockTier {
  readonly #files: BlockFiles;
  readonly #key: string;
  readonly #memory: BlockMemory;
  /** Of the file of each piece. */
  readonly #bytes: readonly number[];
  /** The last file read. */
  readonly #file: Uint8Array;
  /** Offered to the disk once, which may have dropped them since for what others use. */
  readonly #offered = new WeakSet<BlockContent>();

  /** `key` names all that decides what a block's tensors are beside its tokens; `piece_bytes`: of each of its pieces. */
  constructor(files: BlockFiles, key: string, memory: BlockMemory, ...piece_bytes: readonly number[]) {
    this.#files = files;
    this.#key = key;
    this.#memory = memory;
    this.#bytes = piece_bytes.map((bytes) => HEAD_BYTES + bytes);
    this.#file = new Uint8Array(Math.max(...this.#bytes));
  }

  get pieces(): number {
    return this.#bytes.length;
  }

  evicted(block: number, content: BlockContent): void {
    this.#keep(block, content, this.#files.now());
  }

  prepare(block: number, content: BlockContent): void {
    const [piece] = this.#missing(content);
    if (piece === undefined || !this.#files.takes(this.#bytesOf([piece]))) return;
    this.#keepPiece(block, content, piece, this.#files.now());
  }

  restore(block: number, content: BlockContent, piece: number): boolean {
    if (!this.has(content)) return false;
    const name = this.#nameOf(content, piece);
    const file = this.#file.subarray(0, this.#bytes[piece]);
    if (this.#files.read(name, file) && isIntact(file, name, content)) {
      this.#memory.load(block, file.subarray(HEAD_BYTES), piece);
      return true;
    }
    this.#files.remove(name);
    return false;
  }

  has(content: BlockContent): boolean {
    return this.#missing(content).length === 0;
  }

  /** Keeps what is in memory, as far as the cap allows: `contents`, the last used first, while `isThere`. */
  async keep(contents: readonly { block: number; content: BlockContent }[], isThere: () => boolean): Promise<void> {
    const began_ms = this.#files.now();
    const fitting = Math.floor(this.#files.bytes_max / this.#bytesOf(this.#bytes.keys()));
    for (const [place, { block, content }] of contents.slice(0, fitting).entries()) {
      if (!isThere()) return;
      const used_ms = began_ms - place * STAMP_MS;
      if (this.#offered.has(content)) this.#touch(content, used_ms);
      else this.#keep(block, content, used_ms);
      this.#offered.add(content);
      await this.#files.settled();
    }
  }

  #keep(block: number, content: BlockContent, used_ms: number): void {
    const missing = this.#missing(content);
    if (missing.length === 0) this.#touch(content, used_ms);
    else if (this.#files.takes(this.#bytesOf(missing))) {
      for (const piece of missing) this.#keepPiece(block, content, piece, used_ms);
    }
  }

  #keepPiece(block: number, content: BlockContent, piece: number, used_ms: number): void {
    const file = new Uint8Array(this.#bytesOf([piece]));
    const name = this.#nameOf(content, piece);
    this.#memory.save(block, file.subarray(HEAD_BYTES), piece);
    writeHead(file, name, content);
    this.#files.put(name, file, used_ms);
  }

  /** The pieces that are not there. */
  #missing(content: BlockContent): number[] {
    return [...this.#bytes.keys()].filter((piece) => !this.#files.has(this.#nameOf(content, piece)));
  }

  #touch(content: BlockContent, used_ms: number): void {
    for (const piece of this.#bytes.keys()) this.#files.touch(this.#nameOf(content, piece), used_ms);
  }

  #bytesOf(pieces: Iterable<number>): number {
    return [...pieces].reduce((sum, piece) => sum + (this.#bytes[piece] ?? 0), 0);
  }

  #nameOf({ chain_hash }: BlockContent, piece: number): string {
    return `${this.#key}${piece || ""}-${chain_hash}`;
  }
}

/**
 * The key of a model's blocks: its files, the library that computes and how exactly, the version of the program, what a
 * token takes, in bits.
 * A file is told by size, times and inode rather than read: no tool sets the time of its last change at will.
 */
export function blockKey(
  model: string,
  library: string,
  version: string,
  shape: CacheShape,
  { kv_bits, precision }: Pick<EngineSettings, "kv_bits" | "precision">,
): string {
  const sizes = [shape.layers, shape.kv_heads, shape.head_dim];
  const facts = [version, ...[library, ...modelFiles(model)].map(identity), ...sizes, kv_bits, precision];
  return hash("sha256", facts.join("\n"), "hex").slice(0, KEY_LENGTH);
}

const KEY_LENGTH = 16;

// A file: this mark, its own name, the tokens, the checksum of what follows; then keys and values, layer by layer.
const MARK = Buffer.from("Bunsen block 1\n\n");
const TOKENS_AT = 96;
const CHECKSUM_AT = TOKENS_AT + 32 * 4;
const HEAD_BYTES = 256;

// Between the stamps of files that are kept together: as fine as a modification time in seconds can be told.
const STAMP_MS = 0.001;

function writeHead(file: Uint8Array, name: string, content: BlockContent): void {
  file.set(headOf(name, content));
  viewOf(file).setBigUint64(CHECKSUM_AT, checksum(file), true);
}

function isIntact(file: Uint8Array, name: string, content: BlockContent): boolean {
  const head = headOf(name, content);
  const is_asked = Buffer.compare(head, file.subarray(0, CHECKSUM_AT)) === 0;
  return is_asked && viewOf(file).getBigUint64(CHECKSUM_AT, true) === checksum(file);
}

/** All before the checksum. */
function headOf(name: string, { token_ids }: BlockContent): Uint8Array {
  const head = new Uint8Array(CHECKSUM_AT);
  head.set(MARK);
  head.set(Buffer.from(name), MARK.length);
  for (const [index, token] of token_ids.entries()) viewOf(head).setUint32(TOKENS_AT + 4 * index, token, true);
  return head;
}

function checksum(file: Uint8Array): bigint {
  return Bun.hash.xxHash3(file.subarray(HEAD_BYTES));
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function identity(path: string): string {
  const { size, mtimeMs, ctimeMs, ino } = statSync(path);
  return [size, mtimeMs, ctimeMs, ino].join();
}
