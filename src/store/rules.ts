/** The owner's routing rules. Knows not what they mean. */

import { eq } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Rule, RuleStore, RuleWords } from "../core/routing.ts";
import type { Store } from "./database.ts";

export const rules = sqliteTable("rules", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  words: text("words", { mode: "json" }).$type<RuleWords>().notNull(),
  changed_ms: integer("changed_ms").notNull(),
});

export class StoredRules implements RuleStore {
  readonly #store: Store;
  readonly #now: () => number;
  #all: readonly Rule[];

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
    this.#all = this.#read();
  }

  rules(): readonly Rule[] {
    return this.#all;
  }

  add(words: RuleWords): Rule {
    const row = this.#store.tables.insert(rules).values({ words, changed_ms: this.#now() }).returning().get();
    this.#all = this.#read();
    return { id: row.id, ...row.words };
  }

  change(id: number, words: RuleWords): void {
    this.#store.tables.update(rules).set({ words, changed_ms: this.#now() }).where(eq(rules.id, id)).run();
    this.#all = this.#read();
  }

  remove(id: number): void {
    this.#store.tables.delete(rules).where(eq(rules.id, id)).run();
    this.#all = this.#read();
  }

  #read(): readonly Rule[] {
    const rows = this.#store.tables.select().from(rules).orderBy(rules.id).all();
    // Rules of before there were profiles name none.
    return rows.map(({ id, words }) => ({ id, ...words, profile: words.profile ?? null }));
  }
}
