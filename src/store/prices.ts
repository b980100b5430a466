/** The owner's prices, one list among the stored settings. Knows not what they are for. */

import { Type } from "@sinclair/typebox";
import type { Price, PriceStore } from "../core/prices.ts";
import type { StoredSettings } from "./settings.ts";

const KEY = "prices";
const schema = Type.Array(
  Type.Object({
    pattern: Type.String(),
    prompt_per_million: Type.Number(),
    completion_per_million: Type.Number(),
    cached_per_million: Type.Union([Type.Number(), Type.Null()]),
    currency: Type.String(),
  }),
);

export class StoredPrices implements PriceStore {
  readonly #stored: StoredSettings;
  #all: readonly Price[];

  constructor(stored: StoredSettings) {
    this.#stored = stored;
    this.#all = stored.read(KEY, schema) ?? [];
  }

  prices(): readonly Price[] {
    return this.#all;
  }

  replace(prices: readonly Price[]): void {
    this.#stored.write(KEY, schema, [...prices]);
    this.#all = prices;
  }
}
