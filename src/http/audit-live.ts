/**
 * The audit as it comes, as server-sent events or by a web socket: the last rows first. Whoever reads too slowly is
 * cut, so that what is read has no gap.
 */

import { type AuditQuery, isMeant } from "../core/audit.ts";
import { Inbox } from "../core/inbox.ts";
import { comment } from "../wire/waiting.ts";
import { pulled } from "./event-stream.ts";
import { dataLine, EVENT_STREAM } from "./generation.ts";
import type { ServerParts } from "./parts.ts";
import type { Feed } from "./sockets.ts";

type LiveParts = Pick<ServerParts, "audit" | "silence_ms">;

export function auditEvents(parts: LiveParts, query: AuditQuery): Response {
  const headers = { "content-type": EVENT_STREAM, "cache-control": "no-cache" };
  return new Response(pulled(lines(parts, query)), { headers });
}

/** Pings, and the cut of who does not read, are the socket's own. */
export function auditFeed({ audit }: LiveParts, query: AuditQuery): Feed {
  return (send) =>
    audit.follow((entry) => {
      if (isMeant(query, entry)) send(JSON.stringify(entry));
    });
}

// Some hundred kilobytes.
const UNREAD_MAX = 1000;
const HEARTBEAT = comment("still here");
const CUT = comment("cut, as this was read too slowly");

/** The first says that the stream has begun, which its reader else learns with the first row. */
async function* lines({ audit, silence_ms }: LiveParts, query: AuditQuery): AsyncGenerator<string, void, undefined> {
  const inbox = new Inbox<string>();
  let unread = 0;
  const send = (line: string) => {
    unread += 1;
    if (unread <= UNREAD_MAX) inbox.push(line);
    else inbox.end();
  };
  const heartbeat = setInterval(() => send(HEARTBEAT), silence_ms());
  send(HEARTBEAT);
  const unfollow = audit.follow((entry) => {
    if (isMeant(query, entry)) send(dataLine(entry));
  });
  try {
    for await (const line of inbox) {
      yield line;
      unread -= 1;
    }
    yield CUT;
  } finally {
    clearInterval(heartbeat);
    unfollow();
  }
}
