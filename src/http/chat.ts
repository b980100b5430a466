/** `POST /v1/chat/completions`. */

import { Elysia } from "elysia";
import { answerHead } from "../wire/openai-answer.ts";
import { chatBodySchema, chatChunkSchema, chatRequestSchema, chatWriter, readChat } from "../wire/openai-chat.ts";
import { answer, GENERATION_PROBLEMS } from "./generation.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const detail = describe(
  "OpenAI",
  "Answer a chat",
  { "application/json": chatBodySchema, "text/event-stream": chatChunkSchema },
  GENERATION_PROBLEMS,
);

export function chatRoutes(parts: RouteParts) {
  return new Elysia({ normalize: false }).post(
    "/v1/chat/completions",
    async ({ body, request }) => {
      const asked = readChat(body, parts.ids.of(request));
      const { generation, delivery } = asked;
      const head = answerHead("chatcmpl", generation, parts.now(), parts.version);
      const writer = chatWriter(head, asked);
      return await answer(parts, { generations: [generation], stream: delivery.stream, writer }, request.signal);
    },
    { body: chatRequestSchema, parse: "json", detail },
  );
}
