/** Scores of pairs of texts: reranking in the form of Jina and Cohere, and scoring in that of vLLM. Knows no HTTP. */

import { type Static, Type } from "@sinclair/typebox";
import type { RerankRequest, Scores } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

/** Each is read with the query; more are for an index to choose from. */
const DOCUMENTS_MAX = 2048;

const model = Type.String({ minLength: 1, description: "The name of a reranker, as `GET /v1/models` lists it." });
const query = Type.String({ minLength: 1 });
const document = Type.Union([Type.String(), strictObject({ text: Type.String() }, [])]);

export const rerankRequestSchema = strictObject(
  {
    model,
    query,
    documents: Type.Array(document, {
      minItems: 1,
      maxItems: DOCUMENTS_MAX,
      description: "What does not fit the model together with the query is cut from the longer of the two.",
      ...called("documents"),
    }),
    top_n: optional(Type.Integer({ minimum: 1, description: "How many of the best to tell; all unless given." })),
    return_documents: optional(Type.Boolean({ description: "Whether the texts come back (the default)." })),
  },
  ["max_chunks_per_doc", "max_tokens_per_doc", "priority", "rank_fields", "return_embeddings", "truncation"],
  {
    examples: [
      { model: "bge-reranker-base", query: "What is the capital of France?", documents: ["Paris", "Rain is likely"] },
    ],
  },
);

type Rerank = Static<typeof rerankRequestSchema>;

export function readRerank(body: Rerank, request_id: string): RerankRequest {
  return { request_id, model: body.model, pairs: body.documents.map((each) => [body.query, textOf(each)] as const) };
}

function textOf(document: Rerank["documents"][number]): string {
  return typeof document === "string" ? document : document.text;
}

/** The best first; of equals the earlier. */
export function rerankBody(body: Rerank, { scores, prompt_tokens }: Scores, request_id: string) {
  const shows = body.return_documents ?? true;
  const results = scores.map((relevance_score, index) => {
    const text = textOf(body.documents[index] ?? "");
    return { index, relevance_score, ...(shows ? { document: { text } } : {}) };
  });
  results.sort((a, b) => b.relevance_score - a.relevance_score);
  return {
    id: request_id,
    object: "list",
    model: body.model,
    results: results.slice(0, body.top_n ?? results.length),
    usage: usageOf(prompt_tokens),
    meta: { tokens: { input_tokens: prompt_tokens, output_tokens: 0 } },
  };
}

function usageOf(prompt_tokens: number) {
  return { prompt_tokens, total_tokens: prompt_tokens };
}

const usageSchema = Type.Object({ prompt_tokens: Type.Integer(), total_tokens: Type.Integer() });

export const rerankBodySchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("list"),
  model: Type.String(),
  results: Type.Array(
    Type.Object({
      index: Type.Integer({ description: "The document's place in the request." }),
      relevance_score: Type.Number(),
      document: Type.Optional(Type.Object({ text: Type.String() })),
    }),
  ),
  usage: usageSchema,
  meta: Type.Object({ tokens: Type.Object({ input_tokens: Type.Integer(), output_tokens: Type.Integer() }) }),
});

const side = Type.Union([query, Type.Array(query, { minItems: 1, maxItems: DOCUMENTS_MAX, ...called("texts") })]);

export const scoreRequestSchema = strictObject(
  { model, text_1: side, text_2: side },
  ["encoding_format", "priority", "truncate_prompt_tokens", "user"],
  { examples: [{ model: "bge-reranker-base", text_1: "What is the capital of France?", text_2: ["Paris", "Rain"] }] },
);

type Score = Static<typeof scoreRequestSchema>;

export function readScore({ model, text_1, text_2 }: Score, request_id: string): RerankRequest {
  const [firsts, seconds] = [[text_1].flat(), [text_2].flat()];
  if (firsts.length !== seconds.length && firsts.length !== 1) {
    const expected = `expected 1 or as many texts as "text_2" has, ${seconds.length}, found ${firsts.length}`;
    throw new Failure("invalid_request", `Cannot use "text_1": ${expected}`, "text_1");
  }
  const pairs = seconds.map((second, index) => [firsts[index] ?? firsts[0] ?? "", second] as const);
  return { request_id, model, pairs };
}

/** `now_ms`: since the epoch. */
export function scoreBody(model: string, { scores, prompt_tokens }: Scores, request_id: string, now_ms: number) {
  return {
    id: request_id,
    object: "list",
    created: Math.floor(now_ms / 1000),
    model,
    data: scores.map((score, index) => ({ index, object: "score", score })),
    usage: usageOf(prompt_tokens),
  };
}

export const scoreBodySchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("list"),
  created: Type.Integer({ description: "Seconds since the epoch." }),
  model: Type.String(),
  data: Type.Array(Type.Object({ index: Type.Integer(), object: Type.Literal("score"), score: Type.Number() })),
  usage: usageSchema,
});
