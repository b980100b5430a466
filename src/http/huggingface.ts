/** The hub that models are published on: `/api/settings/huggingface`. */

import { Elysia } from "elysia";
import { hubRequestSchema, hubStatusSchema, hubTestSchema, readHubWords } from "../wire/huggingface.ts";
import { noBody, readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Settings";
const status = { "application/json": hubStatusSchema };

const details = {
  show: describe(TAG, "Tell whether there is a token for the hub, and where from", status, [403]),
  change: describe(TAG, "Store a token for the hub, or its address", status, [400, 403, 413, 415, 503]),
  remove: describe(TAG, "Remove the stored token", status, [403]),
  test: describe(TAG, "Ask the hub whose the token is", { "application/json": hubTestSchema }, [403]),
};

export function huggingfaceRoutes({ hub }: RouteParts) {
  return new Elysia({ normalize: false })
    .get("/api/settings/huggingface", async () => hub.status(), { detail: details.show })
    .put(
      "/api/settings/huggingface",
      async ({ body }) => {
        await hub.change(readHubWords(body));
        return hub.status();
      },
      { body: hubRequestSchema, parse: async ({ request }) => await readJson(request), detail: details.change },
    )
    .delete(
      "/api/settings/huggingface",
      async () => {
        await hub.change({ token: null });
        return hub.status();
      },
      { parse: async ({ request }) => noBody(request), detail: details.remove },
    )
    .post("/api/settings/huggingface/test", async ({ request }) => await hub.test(request.signal), {
      parse: async ({ request }) => noBody(request),
      detail: details.test,
    });
}
