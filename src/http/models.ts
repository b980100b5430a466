/** `GET /v1/models` and `GET /v1/models/{id}`. */

import { Elysia } from "elysia";
import type { ModelList, ModelRecord } from "../core/backend.ts";
import type { ModelCard } from "../core/card.ts";
import { Failure } from "../core/failure.ts";
import type { Outlook } from "../core/routing.ts";
import { anthropicModelBody, anthropicModelListBody, readModelQuery } from "../wire/anthropic-models.ts";
import { cardBody, cardSchema, modelBody, modelListBody, modelListSchema } from "../wire/openai-models.ts";
import { speaksAnthropic } from "./anthropic-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const list = describe("OpenAI", "List the models", { "application/json": modelListSchema }, [403]);
const one = describe("OpenAI", "Describe one model", { "application/json": cardSchema }, [403, 404]);

export function modelRoutes(parts: RouteParts) {
  return (
    new Elysia({ normalize: false })
      .get("/v1/models", async ({ request }) => await listFor(request, parts), { detail: list })
      .get("/v1/models/:id", async ({ request }) => await oneFor(request, parts), { detail: one })
      // An id with its slashes as they are.
      .get("/v1/models/*", async ({ request }) => await oneFor(request, parts), { detail: { hide: true } })
  );
}

async function listFor(request: Request, parts: RouteParts) {
  const models = parts.models.models();
  if (speaksAnthropic(request)) {
    return anthropicModelListBody(models, readModelQuery(new URL(request.url).searchParams));
  }
  const bodies = models.map(async (model) => {
    const outlook = await outlookOf(model.name, parts); // others are answered between the files of two models
    return modelBody(model, cardOf(model.name, parts), outlook);
  });
  return modelListBody(await Promise.all(bodies));
}

async function oneFor(request: Request, parts: RouteParts) {
  const model = find(parts.models, request);
  if (speaksAnthropic(request)) return anthropicModelBody(model);
  const card = parts.models.card(model.name);
  return cardBody(card, modelBody(model, card, await outlookOf(model.name, parts)));
}

function find(models: ModelList, request: Request): ModelRecord {
  const id = decoded(new URL(request.url).pathname.slice("/v1/models/".length));
  const model = models.record(id);
  if (model !== null) return model;
  throw new Failure("not_found", `Cannot find model "${id}": this server does not have it`, "model");
}

/** null: it is there, but cannot be read. */
function cardOf(model: string, { models }: RouteParts): ModelCard | null {
  try {
    return models.card(model);
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

/** null: it is there, but cannot be read. */
async function outlookOf(model: string, { outlook }: RouteParts): Promise<Outlook | null> {
  try {
    return await outlook(model);
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
