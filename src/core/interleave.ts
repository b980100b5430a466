/** Joins several sources into one, each item when it comes. */

import { Inbox } from "./inbox.ts";

/** Items with the place of their source. The first failure of a source ends all; who leaves early has to end the sources. */
export async function* interleave<Item>(
  sources: readonly AsyncIterable<Item>[],
): AsyncGenerator<readonly [number, Item], void, undefined> {
  const inbox = new Inbox<readonly [number, Item]>();
  let open = sources.length;
  const read = async (source: AsyncIterable<Item>, place: number) => {
    try {
      for await (const item of source) inbox.push([place, item]);
      open -= 1;
      if (open === 0) inbox.end();
    } catch (error) {
      inbox.fail(error);
    }
  };
  for (const [place, source] of sources.entries()) void read(source, place);
  yield* inbox;
}
