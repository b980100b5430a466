/** What is kept of a request that ended. Never a word of its prompt or answer. */

export type AuditStatus = "success" | "error" | "timeout" | "cancelled";

export interface AuditEntry {
  /** Milliseconds since the epoch, when the request came. */
  readonly time_ms: number;
  readonly request_id: string;
  /** The id of the API key; null where none was needed. */
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
  /** In the unit of the provider's prices; null where it has none. */
  readonly cost: number | null;
}

export interface AuditSink {
  /** Returns at once; writing happens later. */
  record(entry: AuditEntry): void;
}
