/** `POST /v1/debug/prefix`: what of a chat would not be computed again, and why not more. */

import { Elysia } from "elysia";
import { chatRequestSchema, readChat } from "../wire/openai-chat.ts";
import { prefixBody, prefixSchema } from "../wire/prefix.ts";
import { readJson } from "./body.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const summary = "Explain what the prefix cache holds of a chat";
const detail = describe("Server", summary, { "application/json": prefixSchema }, GENERATION_PROBLEMS);

export function prefixRoutes(parts: RouteParts) {
  return new Elysia({ normalize: false }).post(
    "/v1/debug/prefix",
    async ({ body, request }) => {
      const { generation } = readChat(body, parts.ids.of(request));
      return prefixBody(generation.model, await parts.prefix_cache.explain(generation, request.signal));
    },
    { body: chatRequestSchema, parse: async ({ request }) => await readJson(request), detail },
  );
}
