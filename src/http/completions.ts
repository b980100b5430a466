/** `POST /v1/completions`. */

import { Elysia } from "elysia";
import { answerHead } from "../wire/openai-answer.ts";
import {
  completionBodySchema,
  completionChunkSchema,
  completionRequestSchema,
  completionWriter,
  readCompletion,
} from "../wire/openai-completions.ts";
import { answer, GENERATION_PROBLEMS } from "./generation.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const detail = describe(
  "OpenAI",
  "Continue a text",
  { "application/json": completionBodySchema, "text/event-stream": completionChunkSchema },
  GENERATION_PROBLEMS,
);

export function completionRoutes(parts: RouteParts) {
  return new Elysia({ normalize: false }).post(
    "/v1/completions",
    async ({ body, request }) => {
      const asked = readCompletion(body, parts.ids.of(request));
      const { generations, delivery } = asked;
      const head = answerHead("cmpl", generations[0], parts.now(), parts.version);
      const writer = completionWriter(head, asked);
      return await answer(parts, { generations, stream: delivery.stream, writer }, request.signal);
    },
    { body: completionRequestSchema, parse: "json", detail },
  );
}
