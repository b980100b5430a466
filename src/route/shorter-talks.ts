/** Leaves out the oldest turns of a talk until it fits. Knows no tokens: whoever reads it says whether it does. */

import { Failure } from "../core/failure.ts";
import type { Message } from "../core/generation.ts";

/**
 * `read` throws a `Failure` of kind `context_overflow` where a talk does not fit; `is_cut`: it must leave room for an
 * answer.
 */
export async function readShortest<Read>(
  messages: readonly Message[],
  read: (messages: readonly Message[], is_cut: boolean) => Promise<Read>,
): Promise<Read> {
  try {
    return await read(messages, false);
  } catch (error) {
    if (!isOverflow(error)) throw error;
    const found = await firstThatFits(shorterTalks(messages), read);
    if (found === null) throw error;
    return found;
  }
}

/** The shorter a talk the sooner it fits, so that halving finds the longest that does. */
async function firstThatFits<Read>(
  talks: readonly (readonly Message[])[],
  read: (messages: readonly Message[], is_cut: boolean) => Promise<Read>,
): Promise<Read | null> {
  let found: Read | null = null;
  let first = 0;
  let last = talks.length;
  while (first < last) {
    const middle = Math.floor((first + last) / 2);
    try {
      found = await read(talks[middle] ?? [], true);
      last = middle;
    } catch (error) {
      if (!isOverflow(error)) throw error;
      first = middle + 1;
    }
  }
  return found;
}

/**
 * What may be left of a talk, the longest first: what the system says before all, then turns from one of the user's on,
 * for many templates want that order; at last only the user's last words with what came after, from ever later answers on.
 */
function shorterTalks(messages: readonly Message[]): readonly (readonly Message[])[] {
  const begin = messages.findIndex(({ role }) => role !== "system");
  if (begin < 0) return [];
  const told = messages.slice(0, begin);
  const places = messages.keys().filter((place) => place >= begin);
  const users = [...places].filter((place) => messages[place]?.role === "user");
  const last = users.at(-1);
  const later = users.filter((place) => place > begin).map((place) => [...told, ...messages.slice(place)]);
  if (last === undefined) return later;
  // A result goes with its call.
  const answers = messages.flatMap(({ role }, place) => (role === "assistant" && place > last + 1 ? [place] : []));
  const asked = messages.slice(last, last + 1);
  return [...later, ...answers.map((place) => [...told, ...asked, ...messages.slice(place)])];
}

function isOverflow(error: unknown): boolean {
  return error instanceof Failure && error.kind === "context_overflow";
}
