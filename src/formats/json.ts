/** Reads a JSON file of a model with a limit on its size. Knows nothing of what it says. */

import { Failure } from "../core/failure.ts";
import { FileBytes, shown } from "./file-bytes.ts";

/** The largest JSON file of a model is its tokenizer: 33 MB with 262,144 tokens. */
export const JSON_BYTES_MAX = 64 * 2 ** 20;

/** Throws a `Failure` that names the file when it is missing, larger than `bytes_max`, or not JSON. */
export function readJson(path: string, bytes_max: number = JSON_BYTES_MAX): unknown {
  using file = new FileBytes(path);
  if (file.bytes > bytes_max) {
    const state = `it has ${file.bytes} bytes, at most ${bytes_max} are read of such a file`;
    throw new Failure("unsupported", `Cannot read "${path}": ${state}`);
  }
  return parseJson(file.read(0, file.bytes, "the text"), `"${path}"`);
}

/** `what` names the source in a `Failure`. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(UTF8.decode(bytes));
  } catch (error) {
    throw new Failure("unavailable", `Cannot read ${what}: ${jsonTrouble(error)}`);
  }
}

/** An object of a JSON file, or null when the value is something else. */
export function asObject(value: unknown): Readonly<Record<string, unknown>> | null {
  const is_object = typeof value === "object" && value !== null && !Array.isArray(value);
  return is_object ? (value as Readonly<Record<string, unknown>>) : null;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function jsonTrouble(error: unknown): string {
  if (error instanceof RangeError) return "its JSON is nested too deep or needs more memory than there is";
  if (error instanceof SyntaxError)
    return `it is not JSON (${shown(error.message.replace(/^JSON Parse error: /, ""))})`;
  return "it is not UTF-8 text";
}
