/** What `POST /v1/debug/prefix` answers. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import type { PrefixExplanation } from "../core/prefix.ts";

const around = Type.Object({
  token_id: Type.Union([Type.Integer(), Type.Null()]),
  text_before: Type.String(),
  text_after: Type.String({ description: "From the first token that differs on." }),
});

export const prefixSchema = Type.Object({
  model: Type.String(),
  prompt_tokens: Type.Integer(),
  matched_tokens: Type.Integer({ description: "Held in memory or on disk, in whole blocks of 32." }),
  departure: Type.Union([
    Type.Object({ position: Type.Integer(), prompt: around, cached: around }),
    Type.Null({ description: "No text in memory goes on from the matched tokens." }),
  ]),
});

export function prefixBody(model: string, explanation: PrefixExplanation) {
  return { model, ...explanation };
}
