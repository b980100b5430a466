/** What is kept of a request that ended. Never a word of its prompt or answer. */

export type AuditStatus = "success" | "error" | "timeout" | "cancelled";

export interface AuditEntry {
  /** Milliseconds since the epoch, when the request came. */
  readonly time_ms: number;
  readonly request_id: string;
  /** The name of the API key; null: it came without. */
  readonly key: string | null;
  readonly endpoint: string;
  readonly dialect: string;
  readonly model_asked: string | null;
  readonly model_served: string | null;
  /** `local` or the name of a provider; null: it ended before it was routed. */
  readonly backend: string | null;
  readonly route_reason: string | null;
  readonly duration_ms: number;
  readonly first_token_ms: number | null;
  readonly status: AuditStatus;
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  readonly cached_tokens: number | null;
  readonly error_type: string | null;
  readonly left_machine: boolean;
  /** By the price that was set when it was routed; null where none was, or nobody counted. */
  readonly cost: number | null;
  readonly currency: string | null;
  /** Lines of the prompt that its model was not given as they came. */
  readonly steadied_lines: number;
}

/** What a row says that was never routed. */
export const UNROUTED = {
  key: null,
  model_asked: null,
  model_served: null,
  backend: null,
  route_reason: null,
  first_token_ms: null,
  prompt_tokens: null,
  completion_tokens: null,
  cached_tokens: null,
  left_machine: false,
  cost: null,
  currency: null,
  steadied_lines: 0,
} as const;

export interface AuditSink {
  /** Returns at once; writing happens later. */
  record(entry: AuditEntry): void;
}

/** null: whichever. */
export interface AuditQuery {
  readonly model: string | null;
  readonly backend: string | null;
  readonly status: AuditStatus | null;
  readonly key: string | null;
  readonly from_ms: number | null;
  readonly to_ms: number | null;
}

export function isMeant(query: AuditQuery, entry: AuditEntry): boolean {
  const { model, backend, status, key, from_ms, to_ms } = query;
  return (
    (model === null || entry.model_asked === model) &&
    (backend === null || entry.backend === backend) &&
    (status === null || entry.status === status) &&
    (key === null || entry.key === key) &&
    (from_ms === null || entry.time_ms >= from_ms) &&
    (to_ms === null || entry.time_ms <= to_ms)
  );
}

export interface AuditPage {
  readonly data: readonly AuditEntry[];
  /** Where the next page begins; null after the last. */
  readonly next_cursor: number | null;
}

export interface AuditTotals {
  readonly requests: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  /** Requests of which something was sent to another machine. */
  readonly left_machine: number;
  /** By currency. */
  readonly costs: Readonly<Record<string, number>>;
}

type NamedTotals = AuditTotals & { readonly name: string | null };

export interface AuditStats extends AuditTotals {
  readonly by_status: readonly NamedTotals[];
  readonly by_backend: readonly NamedTotals[];
}

export interface AuditVerdict {
  readonly rows: number;
  /** What breaks the chain first; null: nothing. */
  readonly fault: string | null;
  /** Where it says itself that rows may be missing: a crash, a full queue. */
  readonly marks: readonly string[];
  /** Whether a server writes it now, or did when it died. */
  readonly open: boolean;
}

export interface AuditLog extends AuditSink {
  page(query: AuditQuery, limit: number, cursor: number | null): AuditPage;
  all(query: AuditQuery): Iterable<AuditEntry>;
  stats(query: AuditQuery): AuditStats;
  /** What came last, then what comes; the function it gives ends that. */
  follow(listen: (entry: AuditEntry) => void): () => void;
}
