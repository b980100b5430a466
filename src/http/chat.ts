/** `POST /v1/chat/completions`. */

import { Elysia } from "elysia";
import { answerHead } from "../wire/openai-answer.ts";
import { chatBodySchema, chatChunkSchema, chatRequestSchema, chatWriter, readChat } from "../wire/openai-chat.ts";
import { openDoor } from "./door.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { OPENAI } from "./openai-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const detail = describe(
  "OpenAI",
  "Answer a chat",
  { "application/json": chatBodySchema, "text/event-stream": chatChunkSchema },
  GENERATION_PROBLEMS,
  chatRequestSchema,
);

export function chatRoutes(parts: RouteParts) {
  const answer = openDoor(parts, {
    ...OPENAI,
    endpoint: "chat",
    schema: chatRequestSchema,
    read: (body, request_id) => {
      const asked = readChat(body, request_id);
      const { generation, delivery } = asked;
      const head = answerHead("chatcmpl", generation, parts.now(), parts.version);
      const writer = chatWriter(head, asked);
      return { kind: "generation", generations: [generation], stream: delivery.stream, writer };
    },
  });
  return new Elysia({ normalize: false }).post("/v1/chat/completions", async ({ request }) => await answer(request), {
    parse: "none",
    detail,
  });
}
