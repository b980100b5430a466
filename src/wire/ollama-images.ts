/** Pictures in Ollama's requests: bare base64, whose first bytes tell what they are. */

import { Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { PlacedImage } from "../core/generation.ts";
import { optional } from "./schema.ts";
import { called } from "./violation.ts";

export const ollamaImages = optional(
  Type.Array(Type.String(), { description: "JPEG, PNG, GIF or WebP in base64.", ...called("images") }),
);

/** They stand before the words. */
export function imagesOf(images: readonly string[] | null | undefined, parameter: string): { images?: PlacedImage[] } {
  if (!images || images.length === 0) return {};
  return {
    images: images.map((base64, index) => {
      const [, media_type] = BEGINNINGS.find(([begin]) => base64.startsWith(begin)) ?? [];
      if (media_type !== undefined) return { at: 0, source: { kind: "data", media_type, base64 } };
      const state = "expected a JPEG, PNG, GIF or WebP image in base64, found something else";
      const place = `${parameter}[${index}]`;
      throw new Failure("invalid_request", `Cannot use "${place}": ${state}`, place);
    }),
  };
}

/** Of the base64. */
const BEGINNINGS = [
  ["/9j/", "image/jpeg"],
  ["iVBORw0KGgo", "image/png"],
  ["R0lGOD", "image/gif"],
  ["UklGR", "image/webp"],
] as const;
