/** What one token is called when it is shown by itself. Knows only the table of bytes per token. */

import type { Vocabulary } from "./messages.ts";

export interface TokenText {
  /** The name of a token without text; bytes that are no text by themselves as `bytes:\\xe2\\x80`. */
  readonly text: string;
  /** null: the token has no text. */
  readonly bytes: readonly number[] | null;
}

export function tokenText({ bytes, offsets, names }: Vocabulary, id: number): TokenText {
  const own = bytes.subarray(offsets[id] ?? bytes.length, offsets[id + 1] ?? bytes.length);
  if (own.length === 0) return { text: names.get(id) ?? "", bytes: null };
  return { text: textOf(own), bytes: [...own] };
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
}
