/** A chat of messages and nothing else. */

import { type Message, PLAIN_CHAT } from "../../src/core/generation.ts";
import type { Chat } from "../../src/text/messages.ts";

export function plainChat(messages: readonly Message[]): Chat {
  return { ...PLAIN_CHAT, messages };
}

export function userSays(content: string): Chat {
  return plainChat([{ role: "user", content }]);
}
