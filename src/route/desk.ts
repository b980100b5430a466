/** What the owner does with providers and rules, and sees of them. Joins the router with what is stored. */

import { Failure } from "../core/failure.ts";
import { LOCAL_SERVERS } from "../core/known-providers.ts";
import type { PriceStore } from "../core/prices.ts";
import type {
  Explanation,
  Provider,
  ProviderStore,
  ProviderTest,
  RoutingDesk,
  RoutingSettings,
  RuleStore,
} from "../core/routing.ts";
import { compilePattern } from "./pattern.ts";
import { staysHere } from "./policy.ts";
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
  readonly #settings: () => Pick<RoutingSettings, "enable_cloud_routing" | "private_hosts">;

  constructor(
    router: Router,
    stored: { readonly providers: ProviderStore; readonly rules: RuleStore; readonly prices: PriceStore },
    guard: AddressGuard,
    settings: () => Pick<RoutingSettings, "enable_cloud_routing" | "private_hosts">,
  ) {
    this.providers = stored.providers;
    this.rules = stored.rules;
    this.prices = stored.prices;
    this.#router = router;
    this.#guard = guard;
    this.#settings = settings;
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
    const forbidden = await this.#whyNot(provider);
    if (forbidden !== null) return { ...UNASKED, outcome: "unreachable", detail: forbidden };
    if (this.providers.keyState(provider.name) === "lost") return KEY_LOST;
    const key = await this.providers.key(provider.name).catch(() => undefined);
    return key === undefined ? KEY_LOST : await testProvider(provider, key, signal);
  }

  async loaded(provider: Provider, signal: AbortSignal): Promise<readonly string[]> {
    return (await this.#whyNot(provider)) === null ? await loadedModels(provider, signal) : [];
  }

  /** Why it is not asked for anything; null: it may be. */
  async #whyNot(provider: Provider): Promise<string | null> {
    const { enable_cloud_routing, private_hosts } = this.#settings();
    if (!enable_cloud_routing && !staysHere(provider, "")) {
      return `Cannot ask provider "${provider.name}": cloud routing is off, and it is not on this machine`;
    }
    try {
      await this.#guard.check(provider, private_hosts);
      return null;
    } catch (error) {
      if (error instanceof Failure) return error.message;
      throw error;
    }
  }

  breakers(provider: string) {
    return this.#router.upstream(provider).breakers();
  }

  resetBreakers(provider: string): void {
    this.#router.upstream(provider).reset();
  }
}

const UNASKED = { latency_ms: 0, models: [] } as const;
const KEY_LOST: ProviderTest = { ...UNASKED, outcome: "key_lost", detail: "enter the key again" };
