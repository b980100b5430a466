/**
 * Opens mlx-c once in this thread and keeps its symbols, its stream and the last error.
 * Knows no operation by meaning.
 */

import { CString, dlopen, JSCallback, type Pointer, ptr, read } from "bun:ffi";
import { assert } from "../core/assert.ts";
import { symbols } from "./symbols.ts";

const table = {
  ...symbols.array,
  ...symbols.device,
  ...symbols.error,
  ...symbols.fast,
  ...symbols.memory,
  ...symbols.metal,
  ...symbols.ops,
  ...symbols.stream,
  ...symbols.string,
  ...symbols.transforms,
  ...symbols.vector,
  ...symbols.version,
};

type Native = ReturnType<typeof dlopen<typeof table>>["symbols"];

/** An address from mlx-c; Bun gives a bigint where a number would not be exact. */
export type Handle = Pointer | bigint;

interface Library {
  readonly native: Native;
  readonly stream: Handle;
  readonly version: string;
  readonly device: "cpu" | "gpu";
}

/** An operation of mlx-c that failed, with its name and MLX's own sentence. */
export class MlxError extends Error {
  readonly operation: string;

  constructor(operation: string, reason: string) {
    super(`${operation}: ${reason}`);
    this.name = "MlxError";
    this.operation = operation;
  }
}

let opened: Library | null = null;
let last_error = "";

// mlx-c's own handler ends the process. Ours is called on the calling thread, so a JavaScript callback is safe.
const handler = new JSCallback(
  (message: Pointer) => {
    last_error = new CString(message).toString();
  },
  { args: ["ptr", "ptr"], returns: "void" },
);

// Out-arguments go to the next of these and are read back before the next call. Each must be zero when it is passed,
// and storing the zero just before the call does not work: the JIT takes a native call for one that writes no array,
// and drops the store as repeated. So slots are used once, and cleared together by a call it cannot see through.
const SLOTS = 1024;
const slots = new Float64Array(SLOTS);
const slots_pointer = ptr(slots);
let slot = 0;

/** Opens the library and picks the device: the GPU where Metal is, else the CPU. Throws when it is not an mlx-c. */
export function openLibrary(path: string): Library {
  assert(opened === null, "the library is opened once in a thread");
  const native = dlopen(path, table).symbols;
  native.mlx_set_error_handler(handler.ptr, null, null);
  native.mlx_metal_is_available(emptySlot());
  const device = read.u8(slots_pointer, slot * 8) === 0 ? "cpu" : "gpu";
  const handle = native.mlx_device_new_type(device === "gpu" ? 1 : 0, 0);
  native.mlx_set_default_device(handle);
  native.mlx_device_free(handle);
  const stream = device === "gpu" ? native.mlx_default_gpu_stream_new() : native.mlx_default_cpu_stream_new();
  assert(stream !== null, "mlx-c gave a stream");
  const library: Library = {
    native,
    stream,
    version: readVersion(native),
    device,
  };
  opened = library;
  return library;
}

export function library(): Library {
  assert(opened !== null, "the MLX library is open in this thread");
  return opened;
}

/** A zeroed place for one out-argument; mlx-c would overwrite the array a non-zero one names. */
export function emptySlot(): Pointer {
  slot += 1;
  if (slot === SLOTS) {
    slots.fill(0);
    slot = 0;
  }
  return (slots_pointer + slot * 8) as Pointer;
}

/** What the last call wrote. `read`, not the typed array: the JIT may keep a value from before the native call. */
export function slotHandle(): Handle {
  return read.ptr(slots_pointer, slot * 8) as Pointer;
}

/** Turns a non-zero return into an exception that carries the operation's name. */
export function check(operation: string, code: number): void {
  if (code !== 0) throw new MlxError(operation, takeError());
}

/** What the error handler was told last. */
export function takeError(): string {
  const reason = last_error;
  last_error = "";
  return reason;
}

function readVersion(native: Native): string {
  check("mlx_version", native.mlx_version(emptySlot()));
  const text = slotHandle();
  const data = native.mlx_string_data(text);
  assert(data !== null, "mlx_version wrote a string");
  const version = new CString(data).toString();
  native.mlx_string_free(text);
  return version;
}
