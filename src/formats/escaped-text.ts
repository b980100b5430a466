/** Bytes that are mostly UTF-8 as text that keeps the odd ones, as Python's "surrogateescape" does. Knows no file. */

/** Decodes by hand: what is UTF-8 as such, every other byte as U+DC00 + byte. */
export function escapedText(bytes: Uint8Array): string {
  const units = new Uint16Array(bytes.length); // no character has more units than bytes
  let count = 0;
  for (let at = 0; at < bytes.length; ) {
    const length = LENGTHS[(bytes[at] ?? 0) >> 3] ?? 0;
    const code = codePoint(bytes, at, length);
    at += code === null ? 1 : length;
    if (code === null) units[count++] = 0xdc00 + (bytes[at - 1] ?? 0);
    else if (code < 0x10000) units[count++] = code;
    else {
      units[count++] = 0xd7c0 + (code >> 10);
      units[count++] = 0xdc00 + (code & 0x3ff);
    }
  }
  return Buffer.from(units.buffer, 0, count * 2).toString("utf16le");
}

/** The character of `length` bytes at `at`; null when these bytes are none. */
function codePoint(bytes: Uint8Array, at: number, length: number): number | null {
  if (length === 0 || at + length > bytes.length) return null;
  let code = (bytes[at] ?? 0) & (LEAD_MASKS[length] ?? 0);
  for (let index = 1; index < length; index++) {
    const next = bytes[at + index] ?? 0;
    if (next >> 6 !== 0b10) return null;
    code = (code << 6) | (next & 0x3f);
  }
  const is_surrogate = code >> 11 === 0xd800 >> 11;
  return code < (CODE_MINIMA[length] ?? 0) || code > 0x10ffff || is_surrogate ? null : code;
}

/** By the upper five bits of its first byte: the bytes of a UTF-8 character; 0 when no character begins so. */
const LENGTHS = [...Array(16).fill(1), ...Array(8).fill(0), 2, 2, 2, 2, 3, 3, 4, 0] as readonly number[];
/** By length: the bits of the first byte that belong to the character, and the least character worth that length. */
const LEAD_MASKS = [0, 0x7f, 0x1f, 0x0f, 0x07];
const CODE_MINIMA = [0, 0, 0x80, 0x800, 0x10000];
