/** `POST /v1/embeddings`. */

import { Elysia } from "elysia";
import {
  embeddingBody,
  embeddingBodySchema,
  embeddingRequestSchema,
  readEmbedding,
} from "../wire/openai-embeddings.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const detail = describe(
  "OpenAI",
  "Make vectors of texts",
  { "application/json": embeddingBodySchema },
  GENERATION_PROBLEMS,
);

export function embeddingRoutes(parts: RouteParts) {
  return new Elysia({ normalize: false }).post(
    "/v1/embeddings",
    async ({ body, request }) => {
      const asked = readEmbedding(body, parts.ids.of(request));
      const embeddings = await parts.backend.embed(asked.request, request.signal);
      return embeddingBody(body.model, embeddings, asked.format);
    },
    { body: embeddingRequestSchema, parse: "json", detail },
  );
}
