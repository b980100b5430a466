/** OpenAI's list of models. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import type { ModelRecord } from "../core/backend.ts";
import type { ModelCard } from "../core/card.ts";

export function modelBody(model: ModelRecord) {
  return { id: model.name, object: "model", created: model.created_s, owned_by: model.owner };
}

/** Beside OpenAI's fields, what the model's files say. */
export function cardBody(card: ModelCard) {
  return { ...card };
}

export function modelListBody(models: readonly ModelRecord[]) {
  return { object: "list", data: models.map(modelBody) };
}

const modelSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("model"),
  created: Type.Integer({ description: "Seconds since the epoch." }),
  owned_by: Type.String(),
});

const count = (description: string) => Type.Integer({ minimum: 0, description });

export const cardSchema = Type.Composite([
  modelSchema,
  Type.Object({
    family: Type.String(),
    purpose: Type.Union([Type.Literal("chat"), Type.Literal("embedding"), Type.Literal("reranker"), Type.Null()]),
    parameters: count("Of all weights."),
    quantization: Type.Array(Type.Object({ form: Type.String(), parameters: count("That have this form.") })),
    context_length: Type.Union([Type.Integer(), Type.Null()], { description: "Tokens, prompt and answer together." }),
    cache: Type.Object({
      kind: Type.Union([Type.Literal("full"), Type.Literal("windowed"), Type.Literal("none")]),
      window: Type.Union([Type.Integer(), Type.Null()], { description: "Positions that its windowed layers see." }),
      bytes_per_token: count("Keys and values of one token."),
    }),
    bytes_weights: count("On disk."),
    chat_template_options: Type.Union([Type.Array(Type.String()), Type.Null()], {
      description: "Variables that its chat template asks for; null: it has none.",
    }),
    not_supported: Type.Array(Type.String(), { description: "Why it cannot be loaded, as far as headers tell." }),
    notes: Type.Array(Type.String()),
  }),
]);

export const modelListSchema = Type.Object({ object: Type.Literal("list"), data: Type.Array(modelSchema) });
