/** `POST /v1/embeddings`. */

import { Elysia } from "elysia";
import {
  embeddingBody,
  embeddingBodySchema,
  embeddingRequestSchema,
  readEmbedding,
} from "../wire/openai-embeddings.ts";
import { openDoor } from "./door.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { OPENAI } from "./openai-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const detail = describe(
  "OpenAI",
  "Make vectors of texts",
  { "application/json": embeddingBodySchema },
  GENERATION_PROBLEMS,
  embeddingRequestSchema,
);

export function embeddingRoutes(parts: RouteParts) {
  const answer = openDoor(parts, {
    ...OPENAI,
    endpoint: "embeddings",
    schema: embeddingRequestSchema,
    read: (body, request_id) => {
      const { request, format } = readEmbedding(body, request_id);
      return { kind: "embedding", request, body: (embeddings) => embeddingBody(body.model, embeddings, format) };
    },
  });
  return new Elysia({ normalize: false }).post("/v1/embeddings", async ({ request }) => await answer(request), {
    parse: "none",
    detail,
  });
}
