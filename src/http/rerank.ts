/** `POST /v1/rerank` and `POST /v1/score`. */

import { Elysia } from "elysia";
import {
  readRerank,
  readScore,
  rerankBody,
  rerankBodySchema,
  rerankRequestSchema,
  scoreBody,
  scoreBodySchema,
  scoreRequestSchema,
} from "../wire/rerank.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const rank = describe(
  "Rerank",
  "Order documents by what they say to a query",
  { "application/json": rerankBodySchema },
  GENERATION_PROBLEMS,
);
const score = describe("Rerank", "Score pairs of texts", { "application/json": scoreBodySchema }, GENERATION_PROBLEMS);

export function rerankRoutes(parts: RouteParts) {
  return new Elysia({ normalize: false })
    .post(
      "/v1/rerank",
      async ({ body, request }) => {
        const id = parts.ids.of(request);
        return rerankBody(body, await parts.backend.rerank(readRerank(body, id), request.signal), id);
      },
      { body: rerankRequestSchema, parse: "json", detail: rank },
    )
    .post(
      "/v1/score",
      async ({ body, request }) => {
        const id = parts.ids.of(request);
        const scores = await parts.backend.rerank(readScore(body, id), request.signal);
        return scoreBody(body.model, scores, id, parts.now());
      },
      { body: scoreRequestSchema, parse: "json", detail: score },
    );
}
