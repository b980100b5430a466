/** What a request waits for before its answer begins. Knows neither who waits nor how they are told. */

export type Wait =
  /** For room for its model; the first is at 1. */
  | { readonly kind: "memory"; readonly position: number; readonly estimated_ms: number | null }
  | { readonly kind: "load"; readonly stage: string; readonly bytes_done: number; readonly bytes_total: number }
  /** For one of the rows that step together; the first is at 1. */
  | { readonly kind: "row"; readonly position: number; readonly estimated_ms: number | null }
  /** For its own first token. */
  | { readonly kind: "prompt" };
