/** What the owner has set while the server ran: one JSON value for each key. Knows no setting by name. */

import type { Static, TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { eq } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { Store } from "./database.ts";

export const settings = sqliteTable("settings", {
  key: text("key").primaryKey(),
  value: text("value", { mode: "json" }).$type<unknown>().notNull(),
  changed_ms: integer("changed_ms").notNull(),
});

export class StoredSettings {
  readonly #store: Store;
  readonly #now: () => number;

  /** `now`: milliseconds since the epoch. */
  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /** null when it was never set. */
  read<Schema extends TSchema>(key: string, schema: Schema): Static<Schema> | null {
    const row = this.#store.tables.select().from(settings).where(eq(settings.key, key)).get();
    if (row === undefined) return null;
    if (Value.Check(schema, row.value)) return row.value;
    const fault = Value.Errors(schema, row.value).First();
    const state = `${fault?.path || "it"} does not fit: ${fault?.message ?? "unknown"}`;
    throw new Failure("unavailable", `Cannot use setting "${key}" in ${this.#store.path}: ${state}`);
  }

  write<Schema extends TSchema>(key: string, schema: Schema, value: Static<Schema>): void {
    assert(Value.Check(schema, value), `setting "${key}" is checked before it is stored`);
    const set = { value, changed_ms: this.#now() };
    this.#store.tables
      .insert(settings)
      .values({ key, ...set })
      .onConflictDoUpdate({ target: settings.key, set })
      .run();
  }

  /** All that it writes is kept, or nothing when it throws. */
  atOnce<Result>(work: () => Result): Result {
    return this.#store.tables.transaction(work, { behavior: "immediate" });
  }

  remove(key: string): void {
    this.#store.tables.delete(settings).where(eq(settings.key, key)).run();
  }
}
