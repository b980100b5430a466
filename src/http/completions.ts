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
import { openDoor } from "./door.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { OPENAI } from "./openai-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const detail = describe(
  "OpenAI",
  "Continue a text",
  { "application/json": completionBodySchema, "text/event-stream": completionChunkSchema },
  GENERATION_PROBLEMS,
  completionRequestSchema,
);

export function completionRoutes(parts: RouteParts) {
  const answer = openDoor(parts, {
    ...OPENAI,
    endpoint: "completions",
    schema: completionRequestSchema,
    read: (body, request_id) => {
      const asked = readCompletion(body, request_id);
      const { generations, delivery } = asked;
      const head = answerHead("cmpl", generations[0], parts.now(), parts.version);
      const writer = completionWriter(head, asked);
      return { kind: "generation", generations, stream: delivery.stream, writer };
    },
  });
  return new Elysia({ normalize: false }).post("/v1/completions", async ({ request }) => await answer(request), {
    parse: "none",
    detail,
  });
}
