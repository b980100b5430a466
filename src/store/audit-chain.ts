/** Chains rows of the audit: each carries the hash of itself and of the one before. Knows no database. */

import type { AuditEntry } from "../core/audit.ts";

export interface ChainedEntry extends AuditEntry {
  readonly sequence: number;
  /** Of the row in words; what the size of the audit is measured by. */
  readonly bytes: number;
  readonly hash: string;
}

export interface ChainEnd {
  readonly sequence: number;
  readonly hash: string;
}

export function chained(entry: AuditEntry, before: ChainEnd): ChainedEntry {
  const sequence = before.sequence + 1;
  const words = inWords(entry, sequence);
  return { ...entry, sequence, bytes: words.length, hash: hashOf(before.hash, words) };
}

/** What is wrong with a row that follows `before`; null: nothing. */
export function fault(row: ChainedEntry, before: ChainEnd): string | null {
  if (row.sequence !== before.sequence + 1) {
    return `row ${row.sequence} follows row ${before.sequence}: ${row.sequence - before.sequence - 1} are missing`;
  }
  const { hash } = row;
  return hash === hashOf(before.hash, inWords(row, row.sequence)) ? null : `row ${row.sequence} was changed`;
}

function hashOf(before: string, words: string): string {
  return new Bun.CryptoHasher("sha256").update(before).update("\n").update(words).digest("hex");
}

function inWords(entry: AuditEntry, sequence: number): string {
  return JSON.stringify([
    sequence,
    entry.time_ms,
    entry.request_id,
    entry.key,
    entry.endpoint,
    entry.dialect,
    entry.model_asked,
    entry.model_served,
    entry.backend,
    entry.route_reason,
    entry.duration_ms,
    entry.first_token_ms,
    entry.status,
    entry.prompt_tokens,
    entry.completion_tokens,
    entry.cached_tokens,
    entry.error_type,
    entry.left_machine,
    entry.cost,
    // Rows of before there were currencies keep their words, and with them their hashes.
    ...(entry.currency === null ? [] : [entry.currency]),
    // Rows of before it was counted keep their words, and with them their hashes.
    ...(entry.steadied_lines === 0 ? [] : [entry.steadied_lines]),
  ]);
}
