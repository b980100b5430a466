/** `GET /v1/models` and `GET /v1/models/{id}`. */

import { Elysia } from "elysia";
import type { ModelList, ModelRecord } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";
import { anthropicModelBody, anthropicModelListBody } from "../wire/anthropic-models.ts";
import { cardBody, cardSchema, modelBody, modelListBody, modelListSchema } from "../wire/openai-models.ts";
import { speaksAnthropic } from "./anthropic-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const list = describe("OpenAI", "List the models", { "application/json": modelListSchema }, [403]);
const one = describe("OpenAI", "Describe one model", { "application/json": cardSchema }, [403, 404]);

export function modelRoutes(parts: RouteParts) {
  return (
    new Elysia({ normalize: false })
      .get("/v1/models", async ({ request }) => listOf(parts.models.models(), request), { detail: list })
      .get("/v1/models/:id", async ({ request }) => find(parts.models, request), { detail: one })
      // An id with its slashes as they are.
      .get("/v1/models/*", async ({ request }) => find(parts.models, request), { detail: { hide: true } })
  );
}

function listOf(models: readonly ModelRecord[], request: Request) {
  return speaksAnthropic(request) ? anthropicModelListBody(models) : modelListBody(models);
}

function find(models: ModelList, request: Request) {
  const id = decoded(new URL(request.url).pathname.slice("/v1/models/".length));
  const model = models.models().find((model) => model.name === id);
  if (model !== undefined) {
    return speaksAnthropic(request) ? anthropicModelBody(model) : { ...modelBody(model), ...cardBody(models.card(id)) };
  }
  throw new Failure("not_found", `Cannot find model "${id}": this server does not have it`, "model");
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
