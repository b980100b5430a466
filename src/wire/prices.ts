/** How prices are written in requests and answers. Knows no HTTP and no store. */

import { type Static, Type } from "@sinclair/typebox";
import type { Price } from "../core/prices.ts";

// Far more than any provider has models.
const PRICES_MAX = 1000;
// As of rules.
const PATTERN_CHARACTERS_MAX = 256;
const amount = Type.Number({ minimum: 0, maximum: 1e9 });
const closed = { additionalProperties: false };

export const pricesSchema = Type.Object(
  {
    prices: Type.Array(
      Type.Object(
        {
          pattern: Type.String({
            minLength: 1,
            maxLength: PATTERN_CHARACTERS_MAX,
            description: "A glob over a model's name where it is served, alone or as `provider:model`.",
          }),
          prompt_per_million: amount,
          completion_per_million: amount,
          cached_per_million: Type.Optional(Type.Union([amount, Type.Null()])),
          currency: Type.String({ pattern: "^[A-Z]{3}$", examples: ["USD"] }),
        },
        closed,
      ),
      { maxItems: PRICES_MAX, description: "Of those that fit a model the first counts." },
    ),
  },
  {
    ...closed,
    examples: [
      { prices: [{ pattern: "openai:*", prompt_per_million: 1.25, completion_per_million: 10, currency: "USD" }] },
    ],
  },
);

export function readPrices({ prices }: Static<typeof pricesSchema>): readonly Price[] {
  return prices.map(({ cached_per_million = null, ...price }) => ({ ...price, cached_per_million }));
}
