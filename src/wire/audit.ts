/** How the audit is asked for and written. Knows no HTTP and no store. */

import { Type } from "@sinclair/typebox";
import type { AuditEntry, AuditQuery, AuditStatus } from "../core/audit.ts";
import { Failure } from "../core/failure.ts";

const LIMIT_MAX = 1000;
const LIMIT_DEFAULT = 100;
const STATUSES: readonly AuditStatus[] = ["success", "error", "timeout", "cancelled"];
const FILTERS = ["model", "backend", "status", "key", "from", "to"];

export function readAuditQuery(parameters: URLSearchParams, more: readonly string[] = []): AuditQuery {
  for (const name of parameters.keys()) {
    if (!FILTERS.includes(name) && !more.includes(name)) throw wrong(name, "there is no such parameter");
  }
  return {
    model: parameters.get("model"),
    backend: parameters.get("backend"),
    key: parameters.get("key"),
    status: readStatus(parameters.get("status")),
    from_ms: readTime("from", parameters.get("from")),
    to_ms: readTime("to", parameters.get("to")),
  };
}

export function readPageWishes(parameters: URLSearchParams): { limit: number; cursor: number | null } {
  const limit = readWhole("limit", parameters.get("limit"), LIMIT_MAX) ?? LIMIT_DEFAULT;
  return { limit, cursor: readWhole("cursor", parameters.get("cursor"), Number.MAX_SAFE_INTEGER) };
}

export function readFormat(parameters: URLSearchParams): "jsonl" | "csv" {
  const format = parameters.get("format") ?? "jsonl";
  if (format === "jsonl" || format === "csv") return format;
  throw wrong("format", `expected jsonl or csv, found "${format}"`);
}

function readStatus(text: string | null): AuditStatus | null {
  if (text === null) return null;
  const status = STATUSES.find((status) => status === text);
  if (status === undefined) throw wrong("status", `expected ${STATUSES.join(", ")}, found "${text}"`);
  return status;
}

/** Milliseconds since the epoch, or a date and time as ISO 8601 has it. */
function readTime(name: string, text: string | null): number | null {
  if (text === null) return null;
  const time_ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isFinite(time_ms)) return time_ms;
  throw wrong(name, `expected milliseconds since 1970 or a date, found "${text}"`);
}

function readWhole(name: string, text: string | null, most: number): number | null {
  if (text === null) return null;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= most) return value;
  throw wrong(name, `expected a whole number from 1 to ${most}, found "${text}"`);
}

function wrong(name: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use query parameter "${name}": ${state}`, name);
}

export const AUDIT_COLUMNS: readonly (keyof AuditEntry)[] = [
  "time_ms",
  "request_id",
  "key",
  "endpoint",
  "dialect",
  "model_asked",
  "model_served",
  "backend",
  "route_reason",
  "duration_ms",
  "first_token_ms",
  "status",
  "prompt_tokens",
  "completion_tokens",
  "cached_tokens",
  "error_type",
  "left_machine",
  "cost",
  "currency",
  "steadied_lines",
];

export function csvLine(values: readonly unknown[]): string {
  return `${values.map(csvCell).join(",")}\r\n`;
}

export function csvRow(entry: AuditEntry): string {
  return csvLine(AUDIT_COLUMNS.map((column) => entry[column]));
}

/** A model may be called `=1+1`, which a spreadsheet would take for a formula. */
function csvCell(value: unknown): string {
  if (value === null) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const nullableText = Type.Union([Type.String(), Type.Null()]);
const nullableNumber = Type.Union([Type.Number(), Type.Null()]);

const entrySchema = Type.Object({
  time_ms: Type.Integer({ description: "Milliseconds since the epoch." }),
  request_id: Type.String(),
  key: nullableText,
  endpoint: Type.String(),
  dialect: Type.String(),
  model_asked: nullableText,
  model_served: nullableText,
  backend: nullableText,
  route_reason: nullableText,
  duration_ms: Type.Number(),
  first_token_ms: nullableNumber,
  status: Type.Union(STATUSES.map((status) => Type.Literal(status))),
  prompt_tokens: nullableNumber,
  completion_tokens: nullableNumber,
  cached_tokens: nullableNumber,
  error_type: nullableText,
  left_machine: Type.Boolean(),
  cost: nullableNumber,
  currency: nullableText,
  steadied_lines: Type.Integer({ description: "Of the prompt, not given to the model as they came." }),
});

export const auditPageSchema = Type.Object({
  data: Type.Array(entrySchema),
  next_cursor: Type.Union([Type.Integer(), Type.Null()]),
});

const totals = {
  requests: Type.Integer(),
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  left_machine: Type.Integer(),
  costs: Type.Record(Type.String(), Type.Number(), { description: "By currency, of what has a price." }),
};
const named = Type.Array(Type.Object({ name: nullableText, ...totals }));

export const auditStatsSchema = Type.Object({ ...totals, by_status: named, by_backend: named });
