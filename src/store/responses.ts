/** Kept answers in the database, within a time and a size. Knows not what they say. */

import { eq, getTableColumns, inArray, lt, sql } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { type HeldResponse, lost, type ResponseStore } from "../core/responses.ts";
import type { ResponseSettings } from "../core/settings.ts";
import type { Store } from "./database.ts";

export const responses = sqliteTable("responses", {
  id: text("id").primaryKey(),
  previous_id: text("previous_id"),
  input: text("input", { mode: "json" }).$type<readonly object[]>().notNull(),
  body: text("body", { mode: "json" }).$type<object>().notNull(),
  bytes: integer("bytes").notNull(),
  /** Milliseconds since the epoch: whoever goes on from an answer keeps it, and all before it, for as long again. */
  used_ms: integer("used_ms").notNull(),
  /** By which it was told; they are read only when one asks for them. */
  events: text("events", { mode: "json" }).$type<readonly string[]>(),
  key_id: integer("key_id"),
});

const DAY_MS = 86_400_000;
// Old rows may lie that long beyond their time, also where the owner wants none any more; nobody is given them.
const RETAIN_EVERY_MS = 3_600_000;

export class StoredResponses implements ResponseStore, Disposable {
  readonly #store: Store;
  readonly #limits: ResponseSettings;
  readonly #now: () => number;
  readonly #timer: ReturnType<typeof setInterval>;
  #bytes = 0;

  /** `limits` are read anew each time. */
  constructor(store: Store, limits: ResponseSettings, now: () => number) {
    this.#store = store;
    this.#limits = limits;
    this.#now = now;
    this.retain();
    this.#timer = setInterval(() => {
      try {
        this.retain();
      } catch {
        // Another process holds the file: in an hour again.
      }
    }, RETAIN_EVERY_MS);
    this.#timer.unref();
  }

  get is_open(): boolean {
    return this.#limits.responses_days > 0;
  }

  save({ id, previous_id, input, body, key_id }: HeldResponse): void {
    const bytes = JSON.stringify(input).length + JSON.stringify(body).length;
    const row = { id, previous_id, input, body, bytes, used_ms: this.#now(), events: null, key_id };
    const { id: _, ...set } = row;
    this.#store.tables.insert(responses).values(row).onConflictDoUpdate({ target: responses.id, set }).run();
    this.#grow(bytes);
  }

  keepEvents(id: string, events: readonly string[]): void {
    const more = JSON.stringify(events).length;
    const set = { events, bytes: sql`bytes + ${more}` };
    this.#store.tables.update(responses).set(set).where(eq(responses.id, id)).run();
    this.#grow(more);
  }

  eventsOf(id: string): readonly string[] | null {
    const { events } = responses;
    return this.#store.tables.select({ events }).from(responses).where(eq(responses.id, id)).get()?.events ?? null;
  }

  find(id: string): HeldResponse | null {
    const { events: _, ...columns } = getTableColumns(responses);
    const row = this.#store.tables.select(columns).from(responses).where(eq(responses.id, id)).get();
    if (row === undefined || !this.is_open || row.used_ms < this.#oldest_ms) return null;
    const { previous_id, input, body, key_id } = row;
    return { id, previous_id, input, body, key_id };
  }

  talk(id: string, parameter: string): readonly HeldResponse[] {
    const talk: HeldResponse[] = [];
    for (let next: string | null = id; next !== null; ) {
      const found = this.find(next);
      if (found === null) throw lost(id, next, parameter);
      talk.unshift(found);
      next = found.previous_id;
    }
    const ids = talk.map((response) => response.id);
    this.#store.tables.update(responses).set({ used_ms: this.#now() }).where(inArray(responses.id, ids)).run();
    return talk;
  }

  remove(id: string): boolean {
    const found = this.find(id) !== null;
    this.#store.tables.delete(responses).where(eq(responses.id, id)).run();
    return found;
  }

  /** Removes what is too old, and of what is too much that which was not used for longest. */
  retain(): void {
    const { tables } = this.#store;
    tables.delete(responses).where(lt(responses.used_ms, this.#oldest_ms)).run();
    tables.run(sql`
      DELETE FROM responses WHERE id IN (
        SELECT id FROM (SELECT id, SUM(bytes) OVER (ORDER BY used_ms DESC, rowid DESC) AS newer FROM responses)
        WHERE newer > ${this.#limits.responses_bytes_max})`);
    // Another server of this user may have written since.
    this.#bytes = tables.get<[number]>(sql`SELECT COALESCE(SUM(bytes), 0) FROM responses`)[0];
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #grow(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#limits.responses_bytes_max) this.retain();
  }

  get #oldest_ms(): number {
    return this.#now() - this.#limits.responses_days * DAY_MS;
  }
}
