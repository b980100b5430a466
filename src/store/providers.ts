/** The owner's providers and their keys, which only ever lie here sealed. */

import { and, eq } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { Failure } from "../core/failure.ts";
import {
  type ApiType,
  type BackendType,
  type GivenProvider,
  type KeyState,
  NO_DEFAULTS,
  type Provider,
  type ProviderDefaults,
  type ProviderStore,
} from "../core/routing.ts";
import type { Store } from "./database.ts";
import type { SealedHolder, SealedText } from "./rotation.ts";
import type { Sealing } from "./sealing.ts";

export const providers = sqliteTable("providers", {
  name: text("name").primaryKey(),
  api_type: text("api_type").$type<ApiType>().notNull(),
  backend_type: text("backend_type").$type<BackendType>().notNull(),
  base_url: text("base_url").notNull(),
  sealed_key: text("sealed_key"),
  changed_ms: integer("changed_ms").notNull(),
});

export class StoredProviders implements ProviderStore, SealedHolder {
  readonly #store: Store;
  readonly #sealing: Sealing;
  readonly #now: () => number;
  /** From the environment: used where none of that name is stored. */
  #given: readonly GivenProvider[];
  #all: readonly Provider[] = [];
  readonly #sealed = new Map<string, string>();
  /** Opening one for each request would be a tenth of what a routed request costs. */
  readonly #opened = new Map<string, string>();
  readonly #lost = new Set<string>();

  constructor(store: Store, sealing: Sealing, now: () => number, given: readonly GivenProvider[] = []) {
    this.#store = store;
    this.#sealing = sealing;
    this.#now = now;
    this.#given = given;
    this.#load();
  }

  providers(): readonly Provider[] {
    return this.#all;
  }

  keyState(provider: string): KeyState {
    if (this.#lost.has(provider)) return "lost";
    return this.#sealed.has(provider) || this.#givenKey(provider) !== null ? "stored" : "none";
  }

  defaults(name: string): ProviderDefaults {
    return this.#given.find(({ provider }) => provider.name === name)?.defaults ?? NO_DEFAULTS;
  }

  async key(provider: string): Promise<string | null> {
    const sealed = this.#sealed.get(provider);
    if (sealed === undefined) return this.#givenKey(provider);
    const known = this.#opened.get(provider);
    if (known !== undefined) return known;
    const opened = await this.#sealing.open(sealed, provider);
    if (opened !== null) {
      // Another may have been entered meanwhile.
      if (this.#sealed.get(provider) === sealed) this.#opened.set(provider, opened);
      return opened;
    }
    this.#lost.add(provider);
    const state = "the secret that its key was sealed with is lost; enter the key again";
    throw new Failure("unavailable", `Cannot use provider "${provider}": ${state}`);
  }

  async save(provider: Provider, key: string | null | undefined): Promise<void> {
    const { name, api_type, backend_type, base_url } = provider;
    const kept = this.#sealed.get(name) ?? null;
    const sealed_key = key === undefined ? kept : key === null ? null : await this.#sealing.seal(key, name);
    const set = { api_type, backend_type, base_url, sealed_key, changed_ms: this.#now() };
    this.#store.tables
      .insert(providers)
      .values({ name, ...set })
      .onConflictDoUpdate({ target: providers.name, set })
      .run();
    this.#load();
  }

  /** One that was found running, until the next start. */
  adopt(provider: Provider): void {
    if (this.#all.some(({ name }) => name === provider.name)) return;
    this.#given = [...this.#given, { provider, key: null, defaults: NO_DEFAULTS }];
    this.#load();
  }

  remove(name: string): boolean {
    const known = this.#all.some((provider) => provider.name === name);
    this.#store.tables.delete(providers).where(eq(providers.name, name)).run();
    this.#load();
    return known;
  }

  sealed(): readonly SealedText[] {
    return [...this.#sealed].map(([about, sealed]) => ({ about, sealed }));
  }

  replace({ about, sealed }: SealedText, after: string): void {
    const same = and(eq(providers.name, about), eq(providers.sealed_key, sealed));
    this.#store.tables.update(providers).set({ sealed_key: after }).where(same).run();
    this.#load();
  }

  /** Finds out early which keys are lost, and has the first call not wait for the key to be derived. */
  async warm(): Promise<void> {
    for (const name of this.#sealed.keys()) await this.key(name).catch(() => undefined);
  }

  #givenKey(name: string): string | null {
    return this.#given.find(({ provider }) => provider.name === name)?.key ?? null;
  }

  #load(): void {
    const rows = this.#store.tables.select().from(providers).orderBy(providers.name).all();
    this.#sealed.clear();
    this.#opened.clear();
    this.#lost.clear();
    for (const { name, sealed_key } of rows) if (sealed_key !== null) this.#sealed.set(name, sealed_key);
    const stored = rows.map(({ name, api_type, backend_type, base_url }) => ({
      name,
      api_type,
      backend_type,
      base_url,
    }));
    const names = new Set(stored.map((provider) => provider.name));
    const given = this.#given.map(({ provider }) => provider).filter((provider) => !names.has(provider.name));
    this.#all = [...stored, ...given];
  }
}
