/** OpenAI's list of models, with what each can do here and now beside. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import type { ModelRecord } from "../core/backend.ts";
import type { Outlook } from "../core/routing.ts";

/** `outlook`: null where its files cannot be read. */
export function modelBody(model: ModelRecord, outlook: Outlook | null) {
  return {
    id: model.name,
    object: "model",
    created: model.created_s,
    owned_by: model.owner,
    loaded: outlook?.resident ?? false,
    context_length: outlook?.context_length ?? null,
    capabilities: outlook === null ? [] : CAPABILITIES[outlook.purpose],
    size_bytes: outlook?.bytes_weights ?? null,
  };
}

export function modelListBody(data: readonly ReturnType<typeof modelBody>[]) {
  return { object: "list", data };
}

/** By what the model is for: the routes that take it. */
const CAPABILITIES = {
  chat: ["chat", "completions"],
  embedding: ["embeddings"],
  reranker: ["rerank"],
} as const;

export const modelSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("model"),
  created: Type.Integer({ description: "Seconds since the epoch." }),
  owned_by: Type.String(),
  loaded: Type.Boolean({ description: "It is in memory." }),
  context_length: Type.Union([Type.Integer(), Type.Null()], {
    description: "Tokens of prompt and answer that a request may have now; null where the model cannot be loaded.",
  }),
  capabilities: Type.Array(Type.String({ examples: ["chat"] })),
  size_bytes: Type.Union([Type.Integer(), Type.Null()], { description: "Of its weights in memory." }),
});

export const modelListSchema = Type.Object({ object: Type.Literal("list"), data: Type.Array(modelSchema) });
