/** The owner's prices: `/api/settings/prices`. */

import { Elysia } from "elysia";
import { pricesSchema, readPrices } from "../wire/prices.ts";
import { readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Settings";
const list = { "application/json": pricesSchema };
const details = {
  show: describe(TAG, "Show what tokens cost", list, [403]),
  replace: describe(TAG, "Say what tokens cost, for requests from now on", list, [400, 403, 413, 415]),
};

export function priceRoutes({ desk }: RouteParts) {
  return new Elysia({ normalize: false })
    .get("/api/settings/prices", async () => ({ prices: desk.prices.prices() }), { detail: details.show })
    .put(
      "/api/settings/prices",
      async ({ body }) => {
        const prices = readPrices(body);
        desk.prices.replace(prices);
        return { prices };
      },
      { parse: async ({ request }) => await readJson(request), body: pricesSchema, detail: details.replace },
    );
}
