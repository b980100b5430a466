/** What a stream says while it has nothing to say: a comment for people and proxies, which clients skip. */

import type { Wait } from "../core/waiting.ts";

/** One line. `wait`: null where it is not known here, as of a provider's answer, or of an answer that has begun. */
export function waitingWords(wait: Wait | null): string {
  switch (wait?.kind) {
    case "memory":
    case "row":
      return `waiting position=${wait.position} estimated_ms=${wait.estimated_ms ?? "unknown"} for=${wait.kind}`;
    case "load":
      return `loading stage=${wait.stage} bytes_done=${wait.bytes_done} bytes_total=${wait.bytes_total}`;
    case "prompt":
      return "reading the prompt";
    default:
      return "working";
  }
}

/** A line of server-sent events that is no event. */
export function comment(words: string): string {
  return `: ${words}\n\n`;
}
