/** What all endpoints of Anthropic's dialect have in common. */

import { PING } from "../wire/anthropic-answer.ts";
import { anthropicError } from "../wire/anthropic-problem.ts";
import { comment } from "../wire/waiting.ts";
import { EVENT_STREAM, namedEvent } from "./generation.ts";

export const ANTHROPIC = {
  protocol: "anthropic",
  passed_headers: ["anthropic-version", "anthropic-beta"],
  framing: {
    media_type: EVENT_STREAM,
    frame: namedEvent,
    ending: "",
    waiting: (words: string) => comment(words) + namedEvent(PING),
  },
  lastWords: anthropicError,
} as const;

/** Whether a caller speaks it: by the route, or where several protocols share one, by its header. */
export function speaksAnthropic(request: Request): boolean {
  return request.headers.has("anthropic-version") || /^https?:\/\/[^/]*\/v1\/messages(?:[/?]|$)/.test(request.url);
}
