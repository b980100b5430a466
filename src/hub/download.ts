/** Fetches one file of the hub, goes on where it was cut, and checks it. Knows nothing of what is in it. */

import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Failure } from "../core/failure.ts";
import { unlessAborted } from "../core/unless-aborted.ts";
import { askHub, type Digest, type HubAccess, must } from "./client.ts";

/** A file, and where it is kept. */
export interface Wanted {
  readonly access: HubAccess;
  /** The model, for what is said when it fails. */
  readonly model: string;
  readonly path: string;
  /** At the hub. */
  readonly place: string;
  /** On this machine, once it is whole. */
  readonly target: string;
  readonly bytes: number;
  readonly digest: Digest;
}

export interface Patience {
  /** A line that brings nothing for so long counts as cut. */
  readonly silence_ms_max: number;
  /** Before it is tried again; longer each time. */
  readonly pause_ms: number;
  /** One after another that bring nothing; then the pull ends. */
  readonly tries_max: number;
}

export const PATIENCE: Patience = { silence_ms_max: 30_000, pause_ms: 500, tries_max: 6 };

/** Where what there is of a file lies; Hugging Face's own tools call theirs otherwise, and may fetch it meanwhile. */
function partOf(target: string): string {
  return `${target}.bunsen-part`;
}

/** `told` hears how many bytes are here. What is here when it fails stays, unless it is wrong. */
export async function download(
  wanted: Wanted,
  patience: Patience,
  signal: AbortSignal,
  told: (bytes_here: number) => void,
): Promise<void> {
  const part = partOf(wanted.target);
  try {
    await mkdir(dirname(part), { recursive: true });
    await using file = await open(part, "a+");
    const received = await Received.of(file, wanted, signal);
    told(received.bytes);
    await receive(received, wanted, patience, signal, told);
    await received.check();
    await file.datasync();
  } catch (error) {
    throw await explained(error, wanted, part);
  }
  await rename(part, wanted.target);
}

/** Not the bytes that the hub tells of: they must not be gone on from. */
class Wrong extends Failure {}

async function explained(error: unknown, { model, path }: Wanted, part: string): Promise<unknown> {
  if (error instanceof Wrong) await rm(part, { force: true });
  if (!(error instanceof Error) || !("code" in error) || !/^E[A-Z]+$/.test(String(error.code))) return error;
  const is_full = error.code === "ENOSPC" || error.code === "EDQUOT";
  const state = is_full ? `the disk is full, and what is here of "${path}" stays` : error.message;
  return new Failure("unavailable", `Cannot pull "${model}": ${state}`);
}

async function receive(
  received: Received,
  wanted: Wanted,
  { silence_ms_max, pause_ms, tries_max }: Patience,
  signal: AbortSignal,
  told: (bytes_here: number) => void,
): Promise<void> {
  let tries = 0;
  while (received.bytes < wanted.bytes) {
    const before = received.bytes;
    try {
      await receiveOnce(received, wanted, silence_ms_max, signal, told);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Cut)) throw error;
      tries = received.bytes > before ? 0 : tries + 1;
      if (tries >= tries_max) {
        const state = `${error.message}, ${tries} times; ${received.bytes} of ${wanted.bytes} bytes of "${wanted.path}" are here and stay`;
        throw new Failure("upstream", `Cannot pull "${wanted.model}": ${state}`);
      }
      await unlessAborted(Bun.sleep(pause_ms * 2 ** tries), signal);
    }
  }
}

/** What may be mended by asking again. */
class Cut extends Error {}

async function receiveOnce(
  received: Received,
  wanted: Wanted,
  silence_ms_max: number,
  signal: AbortSignal,
  told: (bytes_here: number) => void,
): Promise<void> {
  const silence = new AbortController();
  const cut = () => silence.abort(new Cut(`the hub sent nothing for ${silence_ms_max} ms`));
  let timer = setTimeout(cut, silence_ms_max);
  try {
    const response = await opened(received, wanted, AbortSignal.any([signal, silence.signal]));
    for await (const chunk of response.body ?? []) {
      clearTimeout(timer);
      await received.add(chunk);
      told(received.bytes);
      timer = setTimeout(cut, silence_ms_max);
    }
  } catch (error) {
    if (silence.signal.aborted) throw silence.signal.reason;
    if (error instanceof Failure && !(error instanceof Wrong) && error.kind === "upstream")
      throw new Cut(error.message);
    if (error instanceof Failure || error instanceof Cut || isOfDisk(error)) throw error;
    throw new Cut("the connection to the hub was cut");
  } finally {
    clearTimeout(timer);
  }
  if (received.bytes < wanted.bytes) throw new Cut("the hub ended before the file did");
}

function isOfDisk(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && /^(?:write|open|ftruncate)$/.test(String(error.syscall));
}

/** The rest of the file; from its beginning where the hub gives no rest. */
async function opened(received: Received, wanted: Wanted, signal: AbortSignal): Promise<Response> {
  const { access, model, place } = wanted;
  const range = received.bytes === 0 ? {} : { range: `bytes=${received.bytes}-` };
  // Packed bytes would have other lengths.
  const response = await askHub(access, place, { "accept-encoding": "identity", ...range }, signal);
  const { status } = response;
  if (status === 206 && beginOf(response) === received.bytes) return response;
  if (status === 200) {
    await received.restart();
    return response;
  }
  await response.body?.cancel();
  if (status === 206 || status === 416) {
    await received.restart();
    throw new Cut("the hub gave another part than was asked for");
  }
  if (status === 429 || status >= 500) throw new Cut(`the hub answered with ${status}`);
  must(model, access, response);
  throw new Cut(`the hub answered with ${status}`);
}

function beginOf(response: Response): number {
  return Number(/^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1] ?? Number.NaN);
}

/** So many bytes are read at once of what was here before. */
const READ_BYTES = 2 ** 20;

/** What is here of a file, and its sum so far. */
class Received {
  bytes = 0;
  readonly #file: FileHandle;
  readonly #wanted: Wanted;
  #sum: Bun.CryptoHasher;

  private constructor(file: FileHandle, wanted: Wanted) {
    this.#file = file;
    this.#wanted = wanted;
    this.#sum = sumOf(wanted);
  }

  static async of(file: FileHandle, wanted: Wanted, signal: AbortSignal): Promise<Received> {
    const received = new Received(file, wanted);
    const { size } = await file.stat();
    if (size > wanted.bytes) await file.truncate(0);
    const buffer = new Uint8Array(READ_BYTES);
    while (received.bytes < size) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, received.bytes);
      if (bytesRead === 0) break;
      received.#count(buffer.subarray(0, bytesRead));
    }
    return received;
  }

  async add(chunk: Uint8Array): Promise<void> {
    const { bytes, path, model } = this.#wanted;
    if (this.bytes + chunk.length > bytes) {
      throw new Wrong(
        "upstream",
        `Cannot pull "${model}": "${path}" has more than the ${bytes} bytes that the hub tells`,
      );
    }
    let written = 0;
    while (written < chunk.length) written += (await this.#file.write(chunk, written)).bytesWritten;
    this.#count(chunk);
  }

  async restart(): Promise<void> {
    if (this.bytes > 0) await this.#file.truncate(0);
    this.bytes = 0;
    this.#sum = sumOf(this.#wanted);
  }

  check(): void {
    const { digest, model, path } = this.#wanted;
    const found = this.#sum.digest("hex");
    if (found === digest.hex) return;
    const state = `"${path}" has the checksum ${found}, the hub tells ${digest.hex}; what came is removed`;
    throw new Wrong("upstream", `Cannot pull "${model}": ${state}`);
  }

  #count(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    this.#sum.update(chunk);
  }
}

function sumOf({ digest, bytes }: Wanted): Bun.CryptoHasher {
  if (digest.kind === "sha256") return new Bun.CryptoHasher("sha256");
  return new Bun.CryptoHasher("sha1").update(`blob ${bytes}\0`);
}

/** Bytes that are here of a file that is not whole. */
export async function bytesHere(target: string): Promise<number> {
  return (await stat(partOf(target)).catch(() => null))?.size ?? 0;
}
