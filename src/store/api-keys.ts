/** The keys of callers, by their hashes: a secret of 256 random bits needs no slow one. Knows not what they open. */

import { eq, sql } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { API_KEY_PREFIX, type ApiKey, type ApiKeyStore, type ApiKeyWords, type NewApiKey } from "../core/api-keys.ts";
import { Failure } from "../core/failure.ts";
import type { Store } from "./database.ts";

const SECRET_BYTES = 32;

export const api_keys = sqliteTable("api_keys", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  name: text("name").notNull(),
  admin: integer("admin", { mode: "boolean" }).notNull(),
  privacy: text("privacy").$type<"local-only">(),
  hash: text("hash").notNull(),
  created_ms: integer("created_ms").notNull(),
});

/** All but the hash. */
const SHOWN = {
  id: api_keys.id,
  name: api_keys.name,
  admin: api_keys.admin,
  privacy: api_keys.privacy,
  created_ms: api_keys.created_ms,
};

export class StoredApiKeys implements ApiKeyStore {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #byHash;

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
    const whose = eq(api_keys.hash, sql.placeholder("hash"));
    this.#byHash = store.tables.select(SHOWN).from(api_keys).where(whose).prepare();
  }

  keys(): readonly ApiKey[] {
    return this.#store.tables.select(SHOWN).from(api_keys).orderBy(api_keys.id).all();
  }

  add(words: ApiKeyWords): NewApiKey {
    this.#refuseTwin(words.name, null);
    const random = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
    const secret = API_KEY_PREFIX + Buffer.from(random).toString("base64url");
    const row = { ...words, hash: hashOf(secret), created_ms: this.#now() };
    return { key: this.#store.tables.insert(api_keys).values(row).returning(SHOWN).get(), secret };
  }

  change(id: string, words: ApiKeyWords): ApiKey {
    const found = this.#named(id);
    this.#refuseTwin(words.name, found.id);
    return this.#store.tables.update(api_keys).set(words).where(eq(api_keys.id, found.id)).returning(SHOWN).get();
  }

  remove(id: string): ApiKey {
    const found = this.#named(id);
    this.#store.tables.delete(api_keys).where(eq(api_keys.id, found.id)).run();
    return found;
  }

  /** Read each time: a command of the same user may have made or removed one meanwhile. */
  find(secret: string): ApiKey | null {
    return this.#byHash.get({ hash: hashOf(secret) }) ?? null;
  }

  #named(id: string): ApiKey {
    const found = this.keys().find((key) => String(key.id) === id);
    if (found === undefined) throw new Failure("not_found", `Cannot use API key ${id}: there is none of that number`);
    return found;
  }

  #refuseTwin(name: string, id: number | null): void {
    if (!this.keys().some((key) => key.name === name && key.id !== id)) return;
    throw new Failure("invalid_request", `Cannot name an API key "${name}": another has that name`, "name");
  }
}

function hashOf(secret: string): string {
  return new Bun.CryptoHasher("sha256").update(secret).digest("hex");
}
