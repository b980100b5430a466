/** The settings that can be changed while the server runs: `/api/settings/…`. */

import { Elysia } from "elysia";
import type { SettingGroup, Settings } from "../core/settings.ts";
import { poolStatusSchema, settingsAppliedSchema, settingsRequestSchema, settingsSchema } from "../wire/owner.ts";
import { readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Settings";
/** The hub's are with its token. */
const GROUPS = [
  "pool",
  "timeouts",
  "engine",
  "prompts",
  "responses",
  "routing",
  "audit",
  "server",
] as const satisfies readonly SettingGroup[];

export function settingRoutes(parts: RouteParts) {
  const app = new Elysia({ normalize: false });
  for (const group of GROUPS) app.use(groupRoutes(group, parts));
  return app.get("/api/settings/pool/status", async () => parts.owner.status(), {
    detail: describe(TAG, "Show the pool", { "application/json": poolStatusSchema }, [403]),
  });
}

function groupRoutes(group: (typeof GROUPS)[number], { owner }: RouteParts) {
  const path = `/api/settings/${group}`;
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
