/** What the owner does with providers and rules, and sees of them. Joins the router with what is stored. */

import { LOCAL_SERVERS } from "../core/known-providers.ts";
import type { PriceStore } from "../core/prices.ts";
import type { Explanation, Provider, ProviderStore, ProviderTest, RoutingDesk, RuleStore } from "../core/routing.ts";
import { compilePattern } from "./pattern.ts";
import type { AddressGuard } from "./remote/address.ts";
import { detectProvider, loadedModels, testProvider } from "./remote/discovery.ts";
import type { Router } from "./router.ts";

export class Desk implements RoutingDesk {
  readonly providers: ProviderStore;
  readonly rules: RuleStore;
  readonly prices: PriceStore;
  readonly checkPattern = compilePattern;
  readonly #router: Router;
  readonly #guard: AddressGuard;
  readonly #privateHosts: () => readonly string[];

  constructor(
    router: Router,
    stored: { readonly providers: ProviderStore; readonly rules: RuleStore; readonly prices: PriceStore },
    guard: AddressGuard,
    privateHosts: () => readonly string[],
  ) {
    this.providers = stored.providers;
    this.rules = stored.rules;
    this.prices = stored.prices;
    this.#router = router;
    this.#guard = guard;
    this.#privateHosts = privateHosts;
  }

  async explain(model: string, body_bytes: number, local_only: string | null): Promise<Explanation> {
    return await this.#router.explain(model, body_bytes, local_only);
  }

  async detect(signal: AbortSignal) {
    const openai = this.providers.providers().find((provider) => provider.name === "openai") ?? null;
    const has_key = openai !== null && this.providers.keyState(openai.name) === "stored";
    const known = (server: Provider) => this.providers.providers().find(({ name }) => name === server.name) ?? server;
    return await detectProvider(has_key ? openai : null, signal, [...new Set(LOCAL_SERVERS.map(known))]);
  }

  async test(provider: Provider, signal: AbortSignal): Promise<ProviderTest> {
    await this.#guard.check(provider, this.#privateHosts());
    if (this.providers.keyState(provider.name) === "lost") return KEY_LOST;
    const key = await this.providers.key(provider.name).catch(() => undefined);
    return key === undefined ? KEY_LOST : await testProvider(provider, key, signal);
  }

  async loaded(provider: Provider, signal: AbortSignal): Promise<readonly string[]> {
    await this.#guard.check(provider, this.#privateHosts());
    return await loadedModels(provider, signal);
  }

  breakers(provider: string) {
    return this.#router.upstream(provider).breakers();
  }

  resetBreakers(provider: string): void {
    this.#router.upstream(provider).reset();
  }
}

const KEY_LOST: ProviderTest = { outcome: "key_lost", detail: "enter the key again", latency_ms: 0, models: [] };
