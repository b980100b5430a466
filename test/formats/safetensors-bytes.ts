/** Writes small safetensors files, right or wrong in any field. */

import { joined, u64 } from "./gguf-bytes.ts";

export interface Entry {
  readonly dtype: unknown;
  readonly shape: unknown;
  readonly data_offsets: unknown;
}

export function f32Entry(begin: number, ...shape: number[]): Entry {
  return { dtype: "F32", shape, data_offsets: [begin, begin + 4 * shape.reduce((a, b) => a * b, 1)] };
}

/** `header`: an object, or the very text. */
export function safetensorsBytes(header: Record<string, unknown> | string, data_bytes: number, length?: bigint) {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  return joined(u64(length ?? text.length), text, new Uint8Array(data_bytes));
}
