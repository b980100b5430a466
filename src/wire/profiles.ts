/** How profiles are written in requests and answers. Knows no HTTP and no store. */

import { type Static, Type } from "@sinclair/typebox";
import type { ProfileWords, SavedProfile } from "../core/profile.ts";
import { KV_BITS } from "../core/settings.ts";
import { preloadsSchema } from "./owner.ts";
import { optional, strictObject } from "./schema.ts";

const name = Type.String({ minLength: 1, maxLength: 200, description: "As a caller asks for it." });
const model = Type.String({ minLength: 1, description: "A model of this machine." });
const adapter = Type.String({ minLength: 1, description: "A LoRA adapter by its name." });
const systemPrompt = Type.String({ minLength: 1, description: "Of a chat that brings none." });
const temperature = Type.Number({ minimum: 0, maximum: 2 });
const topP = Type.Number({ exclusiveMinimum: 0, maximum: 1 });
const maxTokens = Type.Integer({ minimum: 1, description: "Of an answer whose protocol leaves its length open." });
const templateOptions = Type.Record(Type.String(), Type.Unknown(), {
  description: "Variables of the model's chat template.",
});
const contextLength = Type.Integer({
  minimum: 2,
  description: "Tokens of prompt and answer together, within what the model takes.",
});
const kvBits = Type.Union(
  KV_BITS.map((bits) => Type.Literal(bits)),
  { description: "In which its model keeps keys and values, asked for by whatever name." },
);

export const profileRequestSchema = strictObject(
  {
    name,
    model,
    adapter: optional(adapter),
    system_prompt: optional(systemPrompt),
    temperature: optional(temperature),
    top_p: optional(topP),
    max_tokens: optional(maxTokens),
    template_options: optional(templateOptions),
    context_length: optional(contextLength),
    kv_bits: optional(kvBits),
    auto_load: Type.Optional(Type.Boolean({ description: "Its model is preloaded, from now on and at each start." })),
  },
  [],
  {
    examples: [{ name: "terse", model: "SmolLM2-135M-Instruct", system_prompt: "Answer in one word.", max_tokens: 8 }],
  },
);

export const profileSchema = Type.Object({
  id: Type.Integer(),
  name,
  model,
  adapter: Type.Union([adapter, Type.Null()]),
  system_prompt: Type.Union([systemPrompt, Type.Null()]),
  temperature: Type.Union([temperature, Type.Null()]),
  top_p: Type.Union([topP, Type.Null()]),
  max_tokens: Type.Union([maxTokens, Type.Null()]),
  template_options: templateOptions,
  context_length: Type.Union([contextLength, Type.Null()]),
  kv_bits: Type.Union([kvBits, Type.Null()]),
  auto_load: Type.Boolean(),
});

export const savedProfileSchema = Type.Object({ ...profileSchema.properties, preloads: preloadsSchema });

export function readProfile(body: Static<typeof profileRequestSchema>): ProfileWords {
  return {
    name: body.name,
    model: body.model,
    adapter: body.adapter ?? null,
    system_prompt: body.system_prompt ?? null,
    temperature: body.temperature ?? null,
    top_p: body.top_p ?? null,
    max_tokens: body.max_tokens ?? null,
    template_options: body.template_options ?? {},
    context_length: body.context_length ?? null,
    kv_bits: body.kv_bits ?? null,
    auto_load: body.auto_load ?? false,
  };
}

export function savedProfileBody({ profile, preloads }: SavedProfile) {
  return { ...profile, preloads };
}
