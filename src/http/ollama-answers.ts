/** Ollama's `POST /api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings`. */

import { Elysia } from "elysia";
import type { Embeddings, EmbedRequest } from "../core/encoding.ts";
import { keptBody, type OllamaHead, ollamaWriter, type Said } from "../wire/ollama-answer.ts";
import { chatFields, ollamaChatBodySchema, ollamaChatSchema, readOllamaChat } from "../wire/ollama-chat.ts";
import {
  NO_EMBEDDINGS,
  ollamaEmbedBody,
  ollamaEmbedBodySchema,
  ollamaEmbeddingsBody,
  ollamaEmbeddingsBodySchema,
  ollamaEmbeddingsSchema,
  ollamaEmbedSchema,
  readOllamaEmbed,
  readOllamaEmbeddings,
} from "../wire/ollama-embed.ts";
import {
  generateFields,
  ollamaGenerateBodySchema,
  ollamaGenerateSchema,
  readOllamaGenerate,
} from "../wire/ollama-generate.ts";
import type { OllamaAsked } from "../wire/ollama-parameters.ts";
import { openDoor } from "./door.ts";
import { GENERATION_PROBLEMS } from "./generation.ts";
import { describeOllama, NDJSON, OLLAMA } from "./ollama-door.ts";
import type { RouteParts } from "./parts.ts";

const details = {
  chat: describeOllama(
    "Answer a chat",
    { "application/json": ollamaChatBodySchema, [NDJSON]: ollamaChatBodySchema },
    GENERATION_PROBLEMS,
    ollamaChatSchema,
  ),
  generate: describeOllama(
    "Answer a prompt",
    { "application/json": ollamaGenerateBodySchema, [NDJSON]: ollamaGenerateBodySchema },
    GENERATION_PROBLEMS,
    ollamaGenerateSchema,
  ),
  embed: describeOllama(
    "Make vectors of texts",
    { "application/json": ollamaEmbedBodySchema },
    GENERATION_PROBLEMS,
    ollamaEmbedSchema,
  ),
  embeddings: describeOllama(
    "Make a vector of a text",
    { "application/json": ollamaEmbeddingsBodySchema },
    GENERATION_PROBLEMS,
    ollamaEmbeddingsSchema,
  ),
};

export function ollamaAnswerRoutes(parts: RouteParts) {
  const chat = openDoor(parts, {
    ...OLLAMA,
    endpoint: "chat",
    schema: ollamaChatSchema,
    read: (body, request_id) => {
      const asked = readOllamaChat(body, request_id);
      const has_prompt = (body.messages ?? []).length > 0;
      return answerOf(parts, body.model, asked, chatFields(), has_prompt);
    },
  });
  const generate = openDoor(parts, {
    ...OLLAMA,
    endpoint: "generate",
    schema: ollamaGenerateSchema,
    read: (body, request_id) => {
      const asked = readOllamaGenerate(body, request_id);
      return answerOf(parts, body.model, asked, generateFields, Boolean(body.prompt));
    },
  });
  const embed = openDoor(parts, {
    ...OLLAMA,
    endpoint: "embeddings",
    schema: ollamaEmbedSchema,
    read: (body, request_id) => {
      const elapsed_ms = stopwatch();
      const request = readOllamaEmbed(body, request_id);
      return vectorsOf(request, (found) => ollamaEmbedBody(body.model, found, elapsed_ms()));
    },
  });
  const embeddings = openDoor(parts, {
    ...OLLAMA,
    endpoint: "embeddings",
    schema: ollamaEmbeddingsSchema,
    read: (body, request_id) => vectorsOf(readOllamaEmbeddings(body, request_id), ollamaEmbeddingsBody),
  });
  const own = (detail: (typeof details)["chat"]) => ({ parse: "none", detail }) as const;
  return new Elysia({ normalize: false })
    .post("/api/chat", async ({ request }) => await chat(request), own(details.chat))
    .post("/api/generate", async ({ request }) => await generate(request), own(details.generate))
    .post("/api/embed", async ({ request }) => await embed(request), own(details.embed))
    .post("/api/embeddings", async ({ request }) => await embeddings(request), own(details.embeddings));
}

/** Without a text it is about the model alone. */
function vectorsOf(request: EmbedRequest, body: (found: Embeddings) => object) {
  const { model, keep_s, inputs } = request;
  if (inputs.length > 0) return { kind: "embedding", request, body } as const;
  return { kind: "keep", model, keep_s, body: () => body(NO_EMBEDDINGS) } as const;
}

/** Without a prompt it is about the model alone. */
function answerOf(
  parts: RouteParts,
  model: string,
  { generation, stream }: OllamaAsked,
  fields: (said: Said) => object,
  has_prompt: boolean,
) {
  const { keep_s, logprobs } = generation;
  const head: OllamaHead = { model, now: parts.now, elapsed_ms: stopwatch(), tells_logprobs: logprobs !== null };
  if (!has_prompt) {
    return { kind: "keep", model: generation.model, keep_s, body: () => keptBody(head, fields, keep_s) } as const;
  }
  const writer = ollamaWriter(head, fields);
  return { kind: "generation", generations: [generation], stream, writer } as const;
}

function stopwatch(): () => number {
  const came_ms = performance.now();
  return () => performance.now() - came_ms;
}
