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
import { openDoor } from "./door.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { OPENAI } from "./openai-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const details = {
  rank: describe(
    "Rerank",
    "Order documents by what they say to a query",
    { "application/json": rerankBodySchema },
    GENERATION_PROBLEMS,
    rerankRequestSchema,
  ),
  score: describe(
    "Rerank",
    "Score pairs of texts",
    { "application/json": scoreBodySchema },
    GENERATION_PROBLEMS,
    scoreRequestSchema,
  ),
};

export function rerankRoutes(parts: RouteParts) {
  const rank = openDoor(parts, {
    ...OPENAI,
    endpoint: "rerank",
    schema: rerankRequestSchema,
    read: (body, id) => ({
      kind: "rerank",
      request: readRerank(body, id),
      body: (scores) => rerankBody(body, scores, id),
    }),
  });
  const score = openDoor(parts, {
    ...OPENAI,
    endpoint: "score",
    schema: scoreRequestSchema,
    read: (body, id) => ({
      kind: "rerank",
      request: readScore(body, id),
      body: (scores) => scoreBody(body.model, scores, id, parts.now()),
    }),
  });
  return new Elysia({ normalize: false })
    .post("/v1/rerank", async ({ request }) => await rank(request), { parse: "none", detail: details.rank })
    .post("/v1/score", async ({ request }) => await score(request), { parse: "none", detail: details.score });
}
