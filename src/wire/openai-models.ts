/** OpenAI's list of models, with what each can do here and now beside. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import type { ModelRecord } from "../core/backend.ts";
import type { ModelCard } from "../core/card.ts";
import type { Outlook } from "../core/routing.ts";
import { KV_BITS } from "../core/settings.ts";

/** `card`, `outlook`: null where its files cannot be read. */
export function modelBody(model: ModelRecord, card: ModelCard | null, outlook: Outlook | null) {
  return {
    id: model.name,
    object: "model",
    created: model.created_s,
    owned_by: model.owner,
    loaded: outlook?.resident ?? false,
    context_length: outlook?.context_length ?? null,
    capabilities: card?.capabilities ?? [],
    size_bytes: outlook?.bytes_weights ?? null,
    family: card?.family ?? null,
    quantization: card?.quantization ?? [],
  };
}

/** What the model's files say, and beside it what holds now; `context_length` is what a request may have now. */
export function cardBody(card: ModelCard, model: ReturnType<typeof modelBody>) {
  return { ...card, ...model, context_length: model.context_length ?? card.context_length };
}

export function modelListBody(data: readonly ReturnType<typeof modelBody>[]) {
  return { object: "list", data };
}

const CAPABILITIES = ["chat", "completions", "tools", "reasoning", "embeddings", "rerank"] as const;

const count = (description: string) => Type.Integer({ minimum: 0, description });

const modelSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("model"),
  created: Type.Integer({ description: "Seconds since the epoch." }),
  owned_by: Type.String(),
  loaded: Type.Boolean({ description: "It is in memory." }),
  context_length: Type.Union([Type.Integer(), Type.Null()], {
    description: "Tokens of prompt and answer that a request may have now; null where the model cannot be loaded.",
  }),
  capabilities: Type.Array(Type.Union(CAPABILITIES.map((name) => Type.Literal(name))), {
    description: "Of a model that answers, as its chat template knows them.",
  }),
  size_bytes: Type.Union([Type.Integer(), Type.Null()], { description: "Of its weights in memory." }),
  family: Type.Union([Type.String(), Type.Null()], { description: "As its files name it; null: they cannot be read." }),
  quantization: Type.Array(Type.Object({ form: Type.String(), parameters: count("That have this form.") }), {
    description: "Each form that its weights have, the most of them first.",
  }),
});

export const cardSchema = Type.Composite([
  modelSchema,
  Type.Object({
    purpose: Type.Union([Type.Literal("chat"), Type.Literal("embedding"), Type.Literal("reranker"), Type.Null()]),
    parameters: count("Of all weights."),
    layers: Type.Union([Type.Integer(), Type.Null()]),
    hidden_size: Type.Union([Type.Integer(), Type.Null()], { description: "Of a position between two layers." }),
    cache: Type.Object({
      kind: Type.Union([
        Type.Literal("full"),
        Type.Literal("windowed"),
        Type.Literal("recurrent"),
        Type.Literal("none"),
      ]),
      window: Type.Union([Type.Integer(), Type.Null()], { description: "Positions that its windowed layers see." }),
      bits: Type.Union(KV_BITS.map((bits) => Type.Literal(bits))),
      bytes_per_token: count("Keys and values of one token."),
      bytes_per_text: count("What recurrent layers keep of a text, however long."),
    }),
    bytes_weights: count("On disk."),
    chat_template: Type.Union([Type.String(), Type.Null()]),
    thinks: Type.Boolean({ description: "Its chat template speaks of thoughts." }),
    sampling: Type.Record(Type.String(), Type.Union([Type.Number(), Type.Null()]), {
      description: "How its files want tokens to be drawn.",
    }),
    chat_template_options: Type.Union([Type.Array(Type.String()), Type.Null()], {
      description: "Variables that its chat template asks for; null: it has none.",
    }),
    not_supported: Type.Array(Type.String(), { description: "Why it cannot be loaded, as far as headers tell." }),
    notes: Type.Array(Type.String()),
  }),
]);

export const modelListSchema = Type.Object({ object: Type.Literal("list"), data: Type.Array(modelSchema) });
