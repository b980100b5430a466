/** What a model's tokens spell to a grammar: their text, or the name of a mark behind a byte that no text has. */

import { MARK_BYTE, type TokenBytes } from "../core/grammar.ts";
import type { Vocabulary } from "./messages.ts";

/** Made once: a vocabulary is some megabytes. */
export function spellingOf(vocabulary: Vocabulary): TokenBytes {
  const spelled = SPELLINGS.get(vocabulary) ?? spell(vocabulary);
  SPELLINGS.set(vocabulary, spelled);
  return spelled;
}

const SPELLINGS = new WeakMap<Vocabulary, TokenBytes>();
const NOTHING = new Uint8Array(0);

function spell({ bytes, offsets, marks }: Vocabulary): TokenBytes {
  const count = Math.max(offsets.length - 1, ...[...marks.keys()].map((id) => id + 1));
  const parts = Array.from({ length: count }, (_, id) => {
    const mark = marks.get(id);
    if (mark !== undefined) return Uint8Array.of(MARK_BYTE, ...Buffer.from(mark));
    const own = bytes.subarray(offsets[id], offsets[id + 1]);
    // A token of that byte alone would begin every mark.
    return own.length === 1 && own[0] === MARK_BYTE ? NOTHING : own;
  });
  const placed = new Uint32Array(count + 1);
  for (const [id, part] of parts.entries()) placed[id + 1] = (placed[id] ?? 0) + part.length;
  return { bytes: Buffer.concat(parts), offsets: placed };
}
