/** The owner's profiles. Knows not what they mean. */

import { eq } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Profile, ProfileStore, ProfileWords } from "../core/profile.ts";
import type { Store } from "./database.ts";

/** As this version writes them, or an older one did, which knew no bits. */
type StoredWords = Omit<ProfileWords, "kv_bits"> & Partial<Pick<ProfileWords, "kv_bits">>;

export const profiles = sqliteTable("profiles", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  words: text("words", { mode: "json" }).$type<StoredWords>().notNull(),
  changed_ms: integer("changed_ms").notNull(),
});

export class StoredProfiles implements ProfileStore {
  readonly #store: Store;
  readonly #now: () => number;
  #all: readonly Profile[];

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
    this.#all = this.#read();
  }

  profiles(): readonly Profile[] {
    return this.#all;
  }

  add(words: ProfileWords): Profile {
    const row = this.#store.tables.insert(profiles).values({ words, changed_ms: this.#now() }).returning().get();
    this.#all = this.#read();
    return { ...words, id: row.id };
  }

  change(id: number, words: ProfileWords): void {
    this.#store.tables.update(profiles).set({ words, changed_ms: this.#now() }).where(eq(profiles.id, id)).run();
    this.#all = this.#read();
  }

  remove(id: number): void {
    this.#store.tables.delete(profiles).where(eq(profiles.id, id)).run();
    this.#all = this.#read();
  }

  #read(): readonly Profile[] {
    const rows = this.#store.tables.select().from(profiles).orderBy(profiles.id).all();
    // Those of older versions lack what came later.
    return rows.map(({ id, words }) => {
      return { ...words, adapter: words.adapter ?? null, kv_bits: words.kv_bits ?? null, id };
    });
  }
}
