/** The audit: `GET /admin/audit-logs`, its sums, its export, and what comes as it comes; the same under `/v1/admin/…`. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { AuditLog, AuditQuery } from "../core/audit.ts";
import {
  AUDIT_COLUMNS,
  auditPageSchema,
  auditStatsSchema,
  csvLine,
  csvRow,
  readAuditQuery,
  readFormat,
  readPageWishes,
} from "../wire/audit.ts";
import { auditEvents, auditFeed } from "./audit-live.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";
import { asksForSocket, grantSocket } from "./sockets.ts";

const page = describe("Server", "List the requests that ended", { "application/json": auditPageSchema }, [400, 403]);
const stats = describe(
  "Server",
  "Sum up the requests that ended",
  { "application/json": auditStatsSchema },
  [400, 403],
);
const entry = auditPageSchema.properties.data.items;
const written = { "application/jsonl": entry, "text/csv": Type.String({ examples: [csvLine(AUDIT_COLUMNS)] }) };
const whole = describe("Server", "Write out the audit, an entry a line", written, [400, 403]);
const live = describe(
  "Server",
  "Follow the audit, as events or by a web socket",
  { "text/event-stream": entry },
  [400, 403],
);

export function auditRoutes(parts: RouteParts) {
  const app = new Elysia({ normalize: false });
  for (const prefix of ["", "/v1"]) app.use(logRoutes(prefix, parts));
  return app;
}

function logRoutes(prefix: string, parts: RouteParts) {
  const { audit, feeds } = parts;
  return new Elysia({ normalize: false, prefix })
    .get(
      "/admin/audit-logs",
      async ({ request }) => {
        const query = new URL(request.url).searchParams;
        const { limit, cursor } = readPageWishes(query);
        return audit.page(readAuditQuery(query, ["limit", "cursor"]), limit, cursor);
      },
      { detail: page },
    )
    .get(
      "/admin/audit-logs/stats",
      async ({ request }) => audit.stats(readAuditQuery(new URL(request.url).searchParams)),
      { detail: stats },
    )
    .get(
      "/admin/audit-logs/export",
      async ({ request }) => {
        const query = new URL(request.url).searchParams;
        return exported(audit, readAuditQuery(query, ["format"]), readFormat(query));
      },
      { detail: whole },
    )
    .get(
      "/admin/audit-logs/live",
      async ({ request }) => {
        const query = readAuditQuery(new URL(request.url).searchParams);
        if (asksForSocket(request)) return grantSocket(feeds, request, auditFeed(parts, query));
        return auditEvents(parts, query);
      },
      { detail: live },
    );
}

const TYPES = { jsonl: "application/jsonl", csv: "text/csv; charset=utf-8" } as const;

/** As it is read, so that neither side holds all of it. */
function exported(audit: AuditLog, query: AuditQuery, format: keyof typeof TYPES): Response {
  const encoder = new TextEncoder();
  const lines = format === "csv" ? csvLines(audit, query) : jsonLines(audit, query);
  const body = new ReadableStream({
    async pull(controller) {
      let text = "";
      while (text.length < EXPORT_CHARACTERS) {
        const { done, value } = lines.next();
        if (done === true) {
          if (text !== "") controller.enqueue(encoder.encode(text));
          return controller.close();
        }
        text += value;
      }
      controller.enqueue(encoder.encode(text));
    },
  });
  return new Response(body, { headers: { "content-type": TYPES[format] } });
}

// Enough that a piece is worth sending, not so much that other requests wait for it.
const EXPORT_CHARACTERS = 2 ** 16;

function* jsonLines(audit: AuditLog, query: AuditQuery): Generator<string, void, undefined> {
  for (const entry of audit.all(query)) yield `${JSON.stringify(entry)}\n`;
}

function* csvLines(audit: AuditLog, query: AuditQuery): Generator<string, void, undefined> {
  yield csvLine(AUDIT_COLUMNS);
  for (const entry of audit.all(query)) yield csvRow(entry);
}
