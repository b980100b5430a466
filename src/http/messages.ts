/** `POST /v1/messages` and `POST /v1/messages/count_tokens`. */

import { Elysia } from "elysia";
import { countSchema, MessageWriter, messageEventSchema, messageSchema } from "../wire/anthropic-answer.ts";
import { countRequestSchema, messageRequestSchema, readCount, readMessage } from "../wire/anthropic-messages.ts";
import { ANTHROPIC } from "./anthropic-door.ts";
import { openDoor } from "./door.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const answerDetail = describe(
  "Anthropic",
  "Answer a talk",
  { "application/json": messageSchema, "text/event-stream": messageEventSchema },
  GENERATION_PROBLEMS,
  messageRequestSchema,
);

const countDetail = describe(
  "Anthropic",
  "Count the tokens of a talk",
  { "application/json": countSchema },
  GENERATION_PROBLEMS,
  countRequestSchema,
);

export function messageRoutes(parts: RouteParts) {
  const answer = openDoor(parts, {
    ...ANTHROPIC,
    endpoint: "messages",
    schema: messageRequestSchema,
    read: (body, request_id) => {
      const asked = readMessage(body, request_id);
      const { generation, stream } = asked;
      return { kind: "generation", generations: [generation], stream, writer: new MessageWriter(asked) };
    },
  });
  const count = openDoor(parts, {
    ...ANTHROPIC,
    endpoint: "count_tokens",
    schema: countRequestSchema,
    read: (body, request_id) => {
      const request = readCount(body, request_id);
      return { kind: "count", request, body: (input_tokens) => ({ input_tokens }) };
    },
  });
  return new Elysia({ normalize: false })
    .post("/v1/messages", async ({ request }) => await answer(request), { parse: "none", detail: answerDetail })
    .post("/v1/messages/count_tokens", async ({ request }) => await count(request), {
      parse: "none",
      detail: countDetail,
    });
}
