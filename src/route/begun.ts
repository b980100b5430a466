/** A flow whose first item is known to have come. */

import type { Flow } from "../core/exchange.ts";

/** null: it ended without one. What is thrown before the first item is thrown here. */
export async function begun<Item>(items: AsyncGenerator<Item, void, undefined>): Promise<Flow<Item> | null> {
  const first = await items.next();
  if (first.done === true) return null;
  let told = false;
  return {
    async next() {
      if (told) return await items.next();
      told = true;
      return first;
    },
    return: async () => await items.return(),
  };
}
