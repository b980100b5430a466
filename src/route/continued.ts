/** What a chat adds to the tokens of a talk that went before. Knows the tokens by what is the same in two readings of it. */

import { Failure } from "../core/failure.ts";
import type { Message } from "../core/generation.ts";
import type { EncodedChat } from "../text/messages.ts";

/**
 * The tokens before, and what the model's template puts behind an answer when a user speaks again. A system message
 * cannot come later: it must be the one that the talk began with.
 */
export async function continued(
  before: readonly number[],
  messages: readonly Message[],
  encode: (messages: readonly Message[]) => Promise<EncodedChat>,
): Promise<EncodedChat> {
  const system = messages.filter(({ role }) => role === "system");
  const spoken = messages.slice(system.length);
  if (system.length > 0) {
    const [one, other] = await both((word) => encode([...system, { role: "user", content: word }]));
    const head = one.token_ids.slice(0, sharedLength(one.token_ids, other.token_ids));
    if (head.some((id, place) => before[place] !== id)) {
      const state = 'the talk of "context" did not begin with it, and it cannot be said later';
      throw new Failure("invalid_request", `Cannot use "system": ${state}`, "system");
    }
  }
  const [one, other] = await both((word) => {
    const answered: readonly Message[] = [
      { role: "user", content: "Go on" },
      { role: "assistant", content: word, reasoning: null, tool_calls: [] },
    ];
    return encode([...system, ...answered, ...spoken]);
  });
  const count = sharedLength(one.token_ids.toReversed(), other.token_ids.toReversed());
  return { ...one, token_ids: [...before, ...one.token_ids.slice(one.token_ids.length - count)] };
}

/** Whatever differs between the two is the word's. */
async function both(encode: (word: string) => Promise<EncodedChat>): Promise<readonly [EncodedChat, EncodedChat]> {
  return [await encode("yes"), await encode("No")];
}

function sharedLength(one: readonly number[], other: readonly number[]): number {
  const place = one.findIndex((id, place) => id !== other[place]);
  return place < 0 ? one.length : place;
}
