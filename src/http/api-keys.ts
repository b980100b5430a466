/** The keys of callers: `/api/settings/keys`. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import {
  apiKeyBody,
  apiKeyRequestSchema,
  apiKeySchema,
  newApiKeyBody,
  newApiKeySchema,
  readApiKey,
} from "../wire/api-keys.ts";
import { readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Settings";
const list = { "application/json": Type.Object({ data: Type.Array(apiKeySchema) }) };
const one = { "application/json": apiKeySchema };
const added = { "application/json": newApiKeySchema };
const removed = { "application/json": Type.Object({ removed: Type.Integer() }) };

const details = {
  list: describe(TAG, "List the keys of callers", list, [403]),
  add: describe(TAG, "Make a key for a caller, which is told this once", added, [400, 403, 413, 415]),
  change: describe(TAG, "Change what a key is called and may", one, [400, 403, 404, 413, 415]),
  remove: describe(TAG, "Remove a key: requests with it are refused from now on", removed, [403, 404]),
};

export function apiKeyRoutes({ keys }: RouteParts) {
  const parse = async ({ request }: { request: Request }) => await readJson(request);
  const body = apiKeyRequestSchema;
  return new Elysia({ normalize: false })
    .get("/api/settings/keys", async () => ({ data: keys.keys().map(apiKeyBody) }), { detail: details.list })
    .post("/api/settings/keys", async ({ body }) => newApiKeyBody(keys.add(readApiKey(body))), {
      parse,
      body,
      detail: details.add,
    })
    .put("/api/settings/keys/:id", async ({ body, params }) => apiKeyBody(keys.change(params.id, readApiKey(body))), {
      parse,
      body,
      detail: details.change,
    })
    .delete("/api/settings/keys/:id", async ({ params }) => ({ removed: keys.remove(params.id).id }), {
      detail: details.remove,
    });
}
