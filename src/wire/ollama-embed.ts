/** Ollama's `POST /api/embed`, and `POST /api/embeddings` as it was before. Knows no HTTP and no tokenizer. */

import { type Static, Type } from "@sinclair/typebox";
import type { Embeddings, EmbedRequest } from "../core/encoding.ts";
import { untagged } from "../core/model-names.ts";
import { nanoseconds } from "./ollama-answer.ts";
import { keepAlive, keepSeconds, ollamaModel, ollamaReadingOptions } from "./ollama-parameters.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

// As of OpenAI's embeddings, so that either can be used for the same work.
const INPUTS_MAX = 2048;

const text = Type.String({ minLength: 1 });
const EXAMPLE_MODEL = "all-MiniLM-L6-v2";

export const ollamaEmbedSchema = strictObject(
  {
    model: ollamaModel,
    input: optional(
      Type.Union([Type.String(), Type.Array(text, { maxItems: INPUTS_MAX, ...called("texts") })], {
        description: "Without a text the model is loaded, or kept as `keep_alive` says.",
      }),
    ),
    truncate: optional(
      Type.Boolean({
        description: "Read as much of an input as the model takes (the default), or refuse a longer one.",
      }),
    ),
    dimensions: optional(
      Type.Integer({ minimum: 1, description: "Cuts the vectors, of a model whose files say that it was trained so." }),
    ),
    keep_alive: keepAlive,
    options: ollamaReadingOptions,
  },
  [],
  { examples: [{ model: EXAMPLE_MODEL, input: ["The capital of France is Paris.", "Rain is likely."] }] },
);

export const ollamaEmbeddingsSchema = strictObject(
  { model: ollamaModel, prompt: optional(Type.String()), keep_alive: keepAlive, options: ollamaReadingOptions },
  [],
  { examples: [{ model: EXAMPLE_MODEL, prompt: "The capital of France is Paris." }] },
);

type OllamaEmbed = Static<typeof ollamaEmbedSchema>;

export function readOllamaEmbed(body: OllamaEmbed, request_id: string): EmbedRequest {
  const { model, input, truncate, dimensions, keep_alive, options } = body;
  return {
    request_id,
    model: untagged(model),
    inputs: typeof input === "string" ? [input].filter((text) => text !== "") : (input ?? []),
    prompt_name: null,
    dimensions: dimensions ?? null,
    tokens_max: options?.num_ctx ?? null,
    truncate: truncate ?? true,
    keep_s: keepSeconds(keep_alive),
    user: null,
  };
}

export function readOllamaEmbeddings(
  { model, prompt, keep_alive, options }: Static<typeof ollamaEmbeddingsSchema>,
  request_id: string,
): EmbedRequest {
  return readOllamaEmbed(
    { model, input: prompt ?? null, keep_alive: keep_alive ?? null, options: options ?? null },
    request_id,
  );
}

/** Of a request that is about the model alone. */
export const NO_EMBEDDINGS: Embeddings = { vectors: [], prompt_tokens: 0 };

export function ollamaEmbedBody(model: string, embeddings: Embeddings, elapsed_ms: number) {
  const { vectors, prompt_tokens, load_ms } = embeddings;
  return {
    model,
    embeddings: vectors.map((vector) => Array.from(vector)),
    total_duration: nanoseconds(elapsed_ms),
    ...(load_ms === undefined ? {} : { load_duration: nanoseconds(load_ms) }),
    prompt_eval_count: prompt_tokens,
  };
}

export function ollamaEmbeddingsBody({ vectors }: Embeddings) {
  return { embedding: vectors.flatMap((vector) => Array.from(vector)) };
}

export const ollamaEmbedBodySchema = Type.Object({
  model: Type.String(),
  embeddings: Type.Array(Type.Array(Type.Number())),
  total_duration: Type.Integer({ description: "Nanoseconds." }),
  load_duration: Type.Optional(Type.Integer({ description: "Nanoseconds until the model was in memory." })),
  prompt_eval_count: Type.Integer(),
});

export const ollamaEmbeddingsBodySchema = Type.Object({ embedding: Type.Array(Type.Number()) });
