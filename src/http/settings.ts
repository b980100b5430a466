/** The settings that can be changed while the server runs: `/api/settings/…`. */

import { Elysia } from "elysia";
import type { SettingGroup, Settings } from "../core/settings.ts";
import { poolStatusSchema, settingsAppliedSchema, settingsRequestSchema, settingsSchema } from "../wire/owner.ts";
import { readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Settings";

export function settingRoutes(parts: RouteParts) {
  return new Elysia({ normalize: false })
    .use(groupRoutes("pool", parts))
    .use(groupRoutes("timeouts", parts))
    .use(groupRoutes("engine", parts))
    .use(groupRoutes("prompts", parts))
    .use(groupRoutes("responses", parts))
    .get("/api/settings/pool/status", async () => parts.owner.status(), {
      detail: describe(TAG, "Show the pool", { "application/json": poolStatusSchema }, [403]),
    });
}

/** What takes effect at once. */
type LiveGroup = Extract<SettingGroup, "pool" | "timeouts" | "engine" | "prompts" | "responses">;

function groupRoutes(group: LiveGroup, { owner }: RouteParts) {
  const path: string = `/api/settings/${group}`;
  const shown = { "application/json": settingsSchema(group) };
  const applied = { "application/json": settingsAppliedSchema(group) };
  return new Elysia({ normalize: false })
    .get(path, async () => owner.settings(group), { detail: describe(TAG, `Show the ${group} settings`, shown, [403]) })
    .put(
      path,
      async ({ body }) => {
        const done = await owner.change(body as Partial<Settings>);
        return { ...owner.settings(group), ...done };
      },
      {
        body: settingsRequestSchema(group),
        parse: async ({ request }) => await readJson(request),
        detail: describe(TAG, `Change ${group} settings, for good and from now on`, applied, [400, 403, 413, 415]),
      },
    );
}
