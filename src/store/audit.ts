/** The audit in the database: written in the background, chained, bounded, and read back in pages. */

import {
  and,
  asc,
  desc,
  eq,
  getTableColumns,
  gt,
  gte,
  lt,
  lte,
  ne,
  type Placeholder,
  type SQL,
  sql,
} from "drizzle-orm";
import { type AnySQLiteColumn, integer, real, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { assert } from "../core/assert.ts";
import {
  type AuditEntry,
  type AuditLog,
  type AuditPage,
  type AuditQuery,
  type AuditStats,
  type AuditStatus,
  type AuditTotals,
  type AuditVerdict,
  UNROUTED,
} from "../core/audit.ts";
import { type ChainEnd, type ChainedEntry, chained, fault } from "./audit-chain.ts";
import type { Store } from "./database.ts";

export const audit = sqliteTable("audit", {
  sequence: integer("sequence").primaryKey(),
  time_ms: integer("time_ms").notNull(),
  request_id: text("request_id").notNull(),
  key: text("key"),
  endpoint: text("endpoint").notNull(),
  dialect: text("dialect").notNull(),
  model_asked: text("model_asked"),
  model_served: text("model_served"),
  backend: text("backend"),
  route_reason: text("route_reason"),
  duration_ms: real("duration_ms").notNull(),
  first_token_ms: real("first_token_ms"),
  status: text("status").$type<AuditStatus>().notNull(),
  prompt_tokens: integer("prompt_tokens"),
  completion_tokens: integer("completion_tokens"),
  cached_tokens: integer("cached_tokens"),
  error_type: text("error_type"),
  left_machine: integer("left_machine", { mode: "boolean" }).notNull(),
  cost: real("cost"),
  bytes: integer("bytes").notNull(),
  hash: text("hash").notNull(),
  currency: text("currency"),
  steadied_lines: integer("steadied_lines").notNull().default(0),
});

/** Where the chain begins and ends: what retention removed, and whether the newest rows are still there. */
export const auditEnds = sqliteTable("audit_ends", {
  id: integer("id").primaryKey(),
  anchor_sequence: integer("anchor_sequence").notNull(),
  anchor_hash: text("anchor_hash").notNull(),
  head_sequence: integer("head_sequence").notNull(),
  head_hash: text("head_hash").notNull(),
  /** Whether a server writes, or did when it died. */
  open: integer("open", { mode: "boolean" }).notNull(),
});

// So often that a crash loses little, so rarely that a transaction is shared by many rows.
const WRITE_MS = 250;
const BATCH_MAX = 500; // some milliseconds of the main thread
const QUEUE_MAX = 20_000; // a minute of more requests than any machine answers
const RING_MAX = 100;
const RETAIN_EVERY_MS = 3_600_000;
const DAY_MS = 86_400_000;

export interface AuditLimits {
  readonly audit_days: number;
  readonly audit_bytes_max: number;
}

export class StoredAudit implements AuditLog, Disposable {
  readonly #store: Store;
  readonly #limits: AuditLimits;
  readonly #now: () => number;
  readonly #queue: AuditEntry[] = [];
  readonly #ring: AuditEntry[] = [];
  readonly #listeners = new Set<(entry: AuditEntry) => void>();
  readonly #attempt: (write: () => void) => void;
  readonly #work: () => void;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #insert: ReturnType<typeof insertion>;
  #dropped = 0;
  /** What could not be written the last time, and why; null: all was. */
  #reported: string | null = null;
  /** At the start too: who runs for less than an hour a day has a past as well. */
  #retained_ms = Number.NEGATIVE_INFINITY;

  /** `limits` are read anew each time; `report` hears of what could not be written, which is tried again. */
  constructor(store: Store, limits: AuditLimits, now: () => number, report: (error: unknown) => void) {
    this.#store = store;
    this.#insert = insertion(store);
    this.#limits = limits;
    this.#now = now;
    const ends = readEnds(store);
    if (ends.open) this.#queue.push(this.#mark("unclean_stop"));
    this.#setEnds({ open: true });
    this.#attempt = (write) => {
      try {
        write();
        this.#reported = null;
      } catch (error) {
        const told = String(error);
        // A disk stays full for hours, and its log would fill with the same each second.
        if (told !== this.#reported) report(error);
        this.#reported = told;
      }
    };
    this.#work = () => this.#attempt(() => this.#flushAndRetain());
    this.#timer = setInterval(this.#work, WRITE_MS);
    this.#timer.unref();
  }

  record(entry: AuditEntry): void {
    this.#ring.push(entry);
    if (this.#ring.length > RING_MAX) this.#ring.shift();
    for (const listen of this.#listeners) listen(entry);
    if (this.#queue.length >= QUEUE_MAX) {
      this.#dropped += 1;
      return;
    }
    this.#queue.push(entry);
    // More requests than the timer alone would write before the second is over.
    if (this.#queue.length % BATCH_MAX === 0) setImmediate(this.#work);
  }

  /** What came last, then what comes; stops when the given function is called. */
  follow(listen: (entry: AuditEntry) => void): () => void {
    for (const entry of this.#ring) listen(entry);
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }

  flush(entries_max = Number.POSITIVE_INFINITY): void {
    if (this.#dropped > 0 && this.#queue.length < QUEUE_MAX) {
      this.#queue.push(this.#mark(`dropped_${this.#dropped}`));
      this.#dropped = 0;
    }
    const batch = this.#queue.slice(0, entries_max);
    if (batch.length === 0) return;
    // The end of the chain is read with the file held: another server of this user may have written since.
    this.#store.tables.transaction(
      (tables) => {
        const ends = tables.select().from(auditEnds).get();
        assert(ends !== undefined, "the table of ends has its row from the start");
        const rows = chainedRows(batch, { sequence: ends.head_sequence, hash: ends.head_hash });
        for (const row of rows) this.#insert.run({ ...row });
        const head = rows.at(-1);
        tables.update(auditEnds).set({ head_sequence: head?.sequence, head_hash: head?.hash }).run();
      },
      { behavior: "immediate" },
    );
    // Only now: what could not be written stays for the next time.
    this.#queue.splice(0, batch.length);
  }

  /** Removes what is too old or too much, oldest first, and remembers where the chain now begins. */
  retain(): void {
    this.flush();
    const { audit_days, audit_bytes_max } = this.#limits;
    // Up to the first that is young enough: a row of a clock that was wrong once takes none with it.
    const old = this.#store.tables.get<[number | null]>(sql`
      SELECT COALESCE(MIN(sequence) - 1, (SELECT MAX(sequence) FROM audit)) FROM audit
      WHERE time_ms >= ${this.#now() - audit_days * DAY_MS}`);
    const too_much = this.#store.tables.get<[number | null]>(sql`
      SELECT MAX(sequence) AS last FROM (SELECT sequence, SUM(bytes) OVER (ORDER BY sequence DESC) AS newer FROM audit)
      WHERE newer > ${audit_bytes_max}`);
    const last = Math.max(old?.[0] ?? 0, too_much?.[0] ?? 0);
    this.#store.tables.transaction(
      (tables) => {
        const anchor = tables.select().from(audit).where(eq(audit.sequence, last)).get();
        if (anchor === undefined) return;
        tables.delete(audit).where(lte(audit.sequence, last)).run();
        tables.update(auditEnds).set({ anchor_sequence: last, anchor_hash: anchor.hash }).run();
      },
      { behavior: "immediate" },
    );
  }

  /** The newest first. */
  page(query: AuditQuery, limit: number, cursor: number | null): AuditPage {
    this.#flushOrReport();
    const before = cursor === null ? [] : [lt(audit.sequence, cursor)];
    const rows = this.#store.tables
      .select()
      .from(audit)
      .where(and(...filters(query), ...before))
      .orderBy(desc(audit.sequence))
      .limit(limit + 1)
      .all();
    const shown = rows.slice(0, limit);
    const last = shown.at(-1);
    return { data: shown.map(entryOf), next_cursor: rows.length > limit && last ? last.sequence : null };
  }

  /** The oldest first, in pages, so that no answer holds them all. */
  *all(query: AuditQuery): Generator<AuditEntry, void, undefined> {
    this.#flushOrReport();
    for (const row of walk(this.#store, filters(query))) yield entryOf(row);
  }

  stats(query: AuditQuery): AuditStats {
    this.#flushOrReport();
    const sum = (column: AnySQLiteColumn) => sql<number>`COALESCE(SUM(${column}), 0)`;
    const sums = {
      currency: audit.currency,
      requests: sql<number>`COUNT(*)`,
      prompt_tokens: sum(audit.prompt_tokens),
      completion_tokens: sum(audit.completion_tokens),
      left_machine: sum(audit.left_machine),
      cost: sum(audit.cost),
    };
    const where = and(...filters(query));
    const all = this.#store.tables.select(sums).from(audit).where(where).groupBy(audit.currency).all();
    const group = (column: typeof audit.status | typeof audit.backend) => {
      const selected = this.#store.tables.select({ name: column, ...sums });
      const rows = selected.from(audit).where(where).groupBy(column, audit.currency).all();
      return [...Map.groupBy(rows, ({ name }) => name)].map(([name, of]) => ({ name, ...together(of) }));
    };
    return { ...together(all), by_status: group(audit.status), by_backend: group(audit.backend) };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    // Where the last rows cannot be written it stays open, which the next start tells.
    this.#attempt(() => {
      this.flush();
      this.#setEnds({ open: false });
    });
  }

  /** What is on the disk can be read though it is full. */
  #flushOrReport(): void {
    this.#attempt(() => this.flush());
  }

  /** By the clock and not by a timer of an hour, which stands still while a laptop sleeps. */
  #flushAndRetain(): void {
    this.flush(BATCH_MAX);
    if (this.#now() < this.#retained_ms + RETAIN_EVERY_MS) return;
    this.retain();
    this.#retained_ms = this.#now();
  }

  #setEnds(set: { open: boolean }): void {
    this.#store.tables.update(auditEnds).set(set).run();
  }

  /** A row of the audit about itself. */
  #mark(error_type: string): AuditEntry {
    return { ...NOTHING, time_ms: this.#now(), error_type };
  }
}

/** Reads the whole chain, also beside a server that writes it. */
export function verifyAudit(store: Store): AuditVerdict {
  const ends = readEnds(store);
  let before: ChainEnd = { sequence: ends.anchor_sequence, hash: ends.anchor_hash };
  const marks: string[] = [];
  let rows = 0;
  for (const row of walk(store, [])) {
    const wrong = fault(row, before);
    if (wrong !== null) return { rows, fault: wrong, marks, open: ends.open };
    if (row.endpoint === MARK) marks.push(`${new Date(row.time_ms).toISOString()} ${row.error_type}`);
    else rows += 1;
    before = row;
  }
  const cut = before.sequence < ends.head_sequence ? `the rows after ${before.sequence} are missing` : null;
  return { rows, fault: cut, marks, open: ends.open };
}

const PAGE_ROWS = 1000;

const COLUMNS = Object.keys(getTableColumns(audit));

const MARK = "audit";
const NOTHING: AuditEntry = {
  ...UNROUTED,
  time_ms: 0,
  request_id: "",
  endpoint: MARK,
  dialect: "",
  duration_ms: 0,
  status: "error",
  error_type: null,
};

interface Sums {
  readonly currency: string | null;
  readonly requests: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly left_machine: number;
  readonly cost: number;
}

/** Sums of one currency each; money of two is no sum. */
function together(rows: readonly Sums[]): AuditTotals {
  const sum = (count: (row: Sums) => number) => rows.reduce((total, row) => total + count(row), 0);
  return {
    requests: sum(({ requests }) => requests),
    prompt_tokens: sum(({ prompt_tokens }) => prompt_tokens),
    completion_tokens: sum(({ completion_tokens }) => completion_tokens),
    left_machine: sum(({ left_machine }) => left_machine),
    costs: Object.fromEntries(rows.flatMap(({ currency, cost }) => (currency === null ? [] : [[currency, cost]]))),
  };
}

function chainedRows(entries: readonly AuditEntry[], head: ChainEnd): ChainedEntry[] {
  let before = head;
  return entries.map((entry) => {
    const row = chained(entry, before);
    before = row;
    return row;
  });
}

/** Prepared once: to make its SQL anew takes twenty times as long as to run it. */
function insertion(store: Store) {
  const values = Object.fromEntries(COLUMNS.map((name) => [name, sql.placeholder(name)]));
  return store.tables
    .insert(audit)
    .values(values as { [Column in keyof ChainedEntry]: Placeholder<Column> })
    .prepare();
}

function readEnds(store: Store): typeof auditEnds.$inferSelect {
  const ends = store.tables.select().from(auditEnds).get();
  assert(ends !== undefined, "the table of ends has its row from the start");
  return ends;
}

function* walk(store: Store, where: readonly SQL[]): Generator<ChainedEntry, void, undefined> {
  let after = 0;
  while (true) {
    const rows = store.tables
      .select()
      .from(audit)
      .where(and(gt(audit.sequence, after), ...where))
      .orderBy(asc(audit.sequence))
      .limit(PAGE_ROWS)
      .all();
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_ROWS) return;
    after = last.sequence;
  }
}

/** Rows of the audit about itself are no requests. */
function filters(query: AuditQuery): SQL[] {
  const said: SQL[] = [ne(audit.endpoint, MARK)];
  if (query.model !== null) said.push(eq(audit.model_asked, query.model));
  if (query.backend !== null) said.push(eq(audit.backend, query.backend));
  if (query.status !== null) said.push(eq(audit.status, query.status));
  if (query.key !== null) said.push(eq(audit.key, query.key));
  if (query.from_ms !== null) said.push(gte(audit.time_ms, query.from_ms));
  if (query.to_ms !== null) said.push(lte(audit.time_ms, query.to_ms));
  return said;
}

function entryOf({ sequence: _, bytes: __, hash: ___, ...entry }: ChainedEntry): AuditEntry {
  return entry;
}
