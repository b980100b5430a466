/** OpenAI's embeddings: its request and answer. Knows no HTTP and no tokenizer. */

import { type Static, Type } from "@sinclair/typebox";
import type { Embeddings, EmbedRequest } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import { floatsToBase64 } from "../core/floats.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

/** OpenAI's own limit. */
const INPUTS_MAX = 2048;

const tokenId = Type.Integer({ minimum: 0 });
const text = Type.String({ minLength: 1 });
const inputs = Type.Array(
  Type.Union([text, tokenId, Type.Array(tokenId, { minItems: 1, ...called("token ids") })], {
    description: "A text, the ids of its tokens, or one id of a single input.",
  }),
  { minItems: 1, ...called("texts or of token ids") },
);

export const embeddingRequestSchema = strictObject(
  {
    model: Type.String({ minLength: 1, description: "The name of an embedding model, as `GET /v1/models` lists it." }),
    input: Type.Union([text, inputs], {
      description: `A text, the ids of its tokens, or up to ${INPUTS_MAX} of either. Ids are read as they are.`,
    }),
    encoding_format: optional(
      Type.Union([Type.Literal("float"), Type.Literal("base64")], {
        description: "`base64`: the floats of 32 bits, little-endian.",
      }),
    ),
    dimensions: optional(
      Type.Integer({ minimum: 1, description: "Cuts the vectors, of a model whose files say that it was trained so." }),
    ),
    prompt_name: optional(
      Type.String({
        minLength: 1,
        description: "Which of the prompts that the model's files have stands before each text, as `query`.",
      }),
    ),
    truncate: optional(
      Type.Boolean({
        description: "Read as much of an input as the model takes (the default), or refuse a longer one.",
      }),
    ),
    user: optional(Type.String({ description: "Goes to the provider, where one answers in this machine's place." })),
  },
  [],
  { examples: [{ model: "all-MiniLM-L6-v2", input: ["The capital of France is Paris.", "Rain is likely."] }] },
);

type EmbeddingRequest = Static<typeof embeddingRequestSchema>;

export function readEmbedding(
  body: EmbeddingRequest,
  request_id: string,
): { request: EmbedRequest; format: "float" | "base64" } {
  const { model, input, prompt_name, dimensions, truncate, user } = body;
  const request = {
    request_id,
    model,
    inputs: inputsOf(input),
    prompt_name: prompt_name ?? null,
    dimensions: dimensions ?? null,
    tokens_max: null,
    truncate: truncate ?? true,
    keep_s: null,
    user: user ?? null,
  };
  return { request, format: body.encoding_format ?? "float" };
}

function inputsOf(input: EmbeddingRequest["input"]): EmbedRequest["inputs"] {
  if (typeof input === "string") return [input];
  const token_ids = input.filter((item) => typeof item === "number");
  if (token_ids.length === input.length) return [token_ids];
  const several = input.filter((item) => typeof item !== "number");
  if (several.length < input.length) throw refusal("texts, token ids or lists of token ids, not a mixture");
  if (several.length > INPUTS_MAX) throw refusal(`at most ${INPUTS_MAX} inputs, found ${several.length}`);
  return several;
}

function refusal(expected: string): Failure {
  return new Failure("invalid_request", `Cannot use "input": expected ${expected}`, "input");
}

export function embeddingBody(model: string, { vectors, prompt_tokens }: Embeddings, format: "float" | "base64") {
  const write = format === "float" ? (vector: Float32Array) => Array.from(vector) : floatsToBase64;
  return {
    object: "list",
    data: vectors.map((vector, index) => ({ object: "embedding", index, embedding: write(vector) })),
    model,
    usage: { prompt_tokens, total_tokens: prompt_tokens },
  };
}

export const embeddingBodySchema = Type.Object({
  object: Type.Literal("list"),
  data: Type.Array(
    Type.Object({
      object: Type.Literal("embedding"),
      index: Type.Integer(),
      embedding: Type.Union([Type.Array(Type.Number()), Type.String({ description: "In base64." })]),
    }),
  ),
  model: Type.String(),
  usage: Type.Object({ prompt_tokens: Type.Integer(), total_tokens: Type.Integer() }),
});
