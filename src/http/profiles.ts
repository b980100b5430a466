/** The owner's profiles: `/api/profiles`. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import {
  profileRequestSchema,
  profileSchema,
  readProfile,
  savedProfileBody,
  savedProfileSchema,
} from "../wire/profiles.ts";
import { noBody, readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Settings";
const list = { "application/json": Type.Object({ data: Type.Array(profileSchema) }) };
const one = { "application/json": profileSchema };
const saved = { "application/json": savedProfileSchema };
const removed = { "application/json": Type.Object({ removed: Type.Integer() }) };

const details = {
  list: describe(TAG, "List the profiles", list, [403]),
  show: describe(TAG, "Show a profile", one, [403, 404]),
  add: describe(TAG, "Add a profile: a name for a model with defaults", saved, [400, 403, 413, 415]),
  change: describe(TAG, "Put another in a profile's place", saved, [400, 403, 404, 413, 415]),
  duplicate: describe(TAG, "Add a profile like another", saved, [400, 403, 404]),
  remove: describe(TAG, "Remove a profile", removed, [403, 404]),
};

export function profileRoutes({ profiles }: RouteParts) {
  const parse = async ({ request }: { request: Request }) => await readJson(request);
  const body = profileRequestSchema;
  return new Elysia({ normalize: false })
    .get("/api/profiles", async () => ({ data: profiles.profiles() }), { detail: details.list })
    .get("/api/profiles/:id", async ({ params }) => profiles.find(params.id), { detail: details.show })
    .post("/api/profiles", async ({ body }) => savedProfileBody(await profiles.add(readProfile(body))), {
      parse,
      body,
      detail: details.add,
    })
    .put(
      "/api/profiles/:id",
      async ({ body, params }) => savedProfileBody(await profiles.change(params.id, readProfile(body))),
      { parse, body, detail: details.change },
    )
    .post("/api/profiles/:id/duplicate", async ({ params }) => savedProfileBody(await profiles.duplicate(params.id)), {
      parse: async ({ request }) => noBody(request),
      detail: details.duplicate,
    })
    .delete("/api/profiles/:id", async ({ params }) => ({ removed: (await profiles.remove(params.id)).id }), {
      detail: details.remove,
    });
}
