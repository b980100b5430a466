/** Ollama's `POST /api/generate`: its request and answer. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { Prompt } from "../core/generation.ts";
import { untagged } from "../core/model-names.ts";
import { answerProperties, type Said } from "./ollama-answer.ts";
import { imagesOf, ollamaImages } from "./ollama-images.ts";
import { EXAMPLE_MODEL, type OllamaAsked, ollamaShared, ollamaWishes, refuseUnlessEmpty } from "./ollama-parameters.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

// A million tokens, as many as any context has.
const CONTEXT_MAX = 2 ** 20;

/** What is not supported, and why: clients send these empty. */
const REFUSED = {
  template: 'the model\'s own chat template is used, or none with "raw": true',
} as const;

const refusedText = (name: keyof typeof REFUSED) =>
  optional(Type.String({ description: `Must be empty: ${REFUSED[name]}.` }));

export const ollamaGenerateSchema = strictObject(
  {
    prompt: optional(Type.String({ description: "None loads the model, or unloads it." })),
    system: optional(Type.String({ description: "Stands before the prompt as a message of its own." })),
    raw: optional(Type.Boolean({ description: "The prompt is continued as it is, without a chat template." })),
    suffix: optional(
      Type.String({ description: "What stands behind the answer, for models that know how to fill in." }),
    ),
    template: refusedText("template"),
    context: optional(
      Type.Array(Type.Integer({ minimum: 0 }), {
        maxItems: CONTEXT_MAX,
        ...called("tokens"),
        description: "What an earlier answer gave as its `context`: the prompt goes on behind it.",
      }),
    ),
    images: ollamaImages,
    ...ollamaShared,
  },
  ["width", "height", "steps"],
  { examples: [{ model: EXAMPLE_MODEL, prompt: "What is the capital of France?", stream: false }] },
);

type GenerateRequest = Static<typeof ollamaGenerateSchema>;

export function readOllamaGenerate(body: GenerateRequest, request_id: string): OllamaAsked {
  for (const [name, state] of Object.entries(REFUSED)) refuseUnlessEmpty(name, Reflect.get(body, name), state);
  const prompt = promptOf(body);
  return {
    generation: { request_id, model: untagged(body.model), prompt, ...ollamaWishes(body), tells_tokens: !body.raw },
    stream: body.stream ?? true,
  };
}

function promptOf({ prompt, system, raw, think, images, suffix, context }: GenerateRequest): Prompt {
  const text = prompt ?? "";
  if (suffix) {
    const bare = { system, images, think, context };
    for (const [name, value] of Object.entries(bare)) refuseUnlessEmpty(name, value, 'with "suffix" it has no place');
    return { kind: "fill", before: text, behind: suffix };
  }
  if (!raw) {
    const before = system ? [{ role: "system", content: system } as const] : [];
    const messages = [...before, { role: "user", content: text, ...imagesOf(images, "images") } as const];
    if (!context || context.length === 0) return { kind: "messages", messages };
    return { kind: "continued", token_ids: context, messages };
  }
  refuseUnlessEmpty("images", images, 'a prompt that is "raw" has no place for them');
  refuseUnlessEmpty("system", system, 'a prompt that is "raw" has no place for it');
  refuseUnlessEmpty("context", context, 'a prompt that is "raw" goes on behind nothing');
  if (typeof think !== "boolean" && typeof think !== "string") return { kind: "text", text };
  throw new Failure("invalid_request", 'Cannot use "think": a prompt that is "raw" has no switch for it', "think");
}

export function generateFields({ content, thinking }: Said) {
  return { response: content, ...(thinking === "" ? {} : { thinking }) };
}

export const ollamaGenerateBodySchema = Type.Object({
  ...answerProperties,
  response: Type.String(),
  thinking: Type.Optional(Type.String()),
  context: Type.Optional(
    Type.Array(Type.Integer(), {
      description: "Tokens of prompt and answer, of a model of this machine. In the last line only.",
    }),
  ),
});
