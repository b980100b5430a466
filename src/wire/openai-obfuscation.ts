/** Padding for the pieces of OpenAI's streams, so that their sizes tell little of what they say. */

import { Type } from "@sinclair/typebox";

export const includeObfuscation = Type.Optional(
  Type.Boolean({
    description: "Pieces of the answer are padded, in a field `obfuscation`; `false` unless it is said.",
  }),
);

/** A token is some four letters: most pieces are of one size then. */
const STEP_BYTES = 64;

export function obfuscated<Piece extends object>(piece: Piece): Piece & { readonly obfuscation: string } {
  const bytes = Buffer.byteLength(JSON.stringify({ ...piece, obfuscation: "" }));
  const missing = STEP_BYTES - (bytes % STEP_BYTES);
  const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(missing)));
  return { ...piece, obfuscation: noise.toString("base64url").slice(0, missing) };
}
