/** What the owner of a server can see and do while it runs. Knows no HTTP. */

import type { Purpose } from "./purpose.ts";
import type { SettingGroup, Settings } from "./settings.ts";
import type { Wait } from "./waiting.ts";

export interface ModelStatus {
  readonly model_id: string;
  /** null until its files were read. */
  readonly model_type: Purpose["kind"] | null;
  readonly state: "loading" | "ready" | "unloading";
  readonly size_bytes: number;
  readonly size_gb: number;
  readonly preloaded: boolean;
  readonly in_flight: number;
  readonly uses: number;
  /** ISO 8601; null while it is loading. */
  readonly loaded_at: string | null;
  readonly last_used: string;
  /** ISO 8601: when it is unloaded unless somebody asks for it; null: never. */
  readonly expires_at: string | null;
  /** Tokens of prompt and answer that a request may have now; null while it is loading. */
  readonly context_length: number | null;
}

export interface MemoryStatus {
  readonly limit_bytes: number;
  readonly taken_bytes: number;
  readonly free_bytes: number;
  /** Of the whole process, as the system counts it. */
  readonly process_bytes: number;
}

export interface PoolStatus {
  readonly loaded_models: readonly ModelStatus[];
  readonly total_models: number;
  readonly memory: MemoryStatus;
  readonly max_memory_gb: number;
  readonly current_memory_gb: number;
  readonly max_models: number;
}

export interface LedgerEntry {
  readonly model_id: string;
  readonly weights_bytes: number;
  readonly weights_bytes_estimated: number;
  readonly is_measured: boolean;
  readonly kv_bytes: number;
  readonly step_bytes: number;
  readonly adapters_bytes: number;
  readonly adapters_bytes_idle: number;
}

export interface LedgerStatus extends MemoryStatus {
  readonly entries: readonly LedgerEntry[];
}

export interface QueueStatus {
  readonly waiting: number;
  readonly requests: readonly {
    readonly request_id: string;
    readonly model: string;
    readonly state: "waiting" | "answering";
    /** null: for nothing any more. */
    readonly waits_for: Wait | null;
    readonly came_at: string;
  }[];
}

export interface PreloadResult {
  readonly model_id: string;
  readonly status: "loaded" | "already_loaded" | "failed";
  readonly reason: string | null;
}

/** What a change of settings did. */
export interface Applied {
  readonly changed: readonly string[];
  /** Of these, what waits for the next start. */
  readonly needs_restart: readonly string[];
  readonly preloads: readonly PreloadResult[];
  /** What is in memory although the limit is below it, and why. */
  readonly stays: readonly { readonly model_id: string; readonly reason: "preloaded" | "in use" }[];
}

export interface OwnerDesk {
  status(): PoolStatus;
  load(model: string): Promise<ModelStatus>;
  unload(model: string): Promise<void>;
  /** Has the model in memory for so long as nobody asks for it, as a request would; 0: unloads it if it is there. */
  keep(model: string, keep_s: number | null): Promise<void>;
  /** Its files go too; throws a `Failure` where this server did not fetch them. */
  remove(model: string): Promise<void>;
  progress(model: string, signal: AbortSignal): AsyncIterable<object>;
  ledger(): LedgerStatus;
  queue(): QueueStatus;
  /** What a request of that id waits for; null: there is none, or its answer has begun. */
  waitOf(request_id: string): Wait | null;
  cancel(request_id: string): void;
  settings(group: SettingGroup): Partial<Settings>;
  change(values: Partial<Settings>): Promise<Applied>;
  reload(): Promise<Applied>;
}
