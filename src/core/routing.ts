/** What the owner says about where requests go. Knows neither where it is stored nor how it is applied. */

import type { PriceStore } from "./prices.ts";
import type { Purpose } from "./purpose.ts";

/** The wire format a provider speaks. */
export type ApiType = "openai" | "anthropic";

/** What runs there. All but `cloud` are servers for one's own machine; `auto` finds out which. */
export type BackendType = "cloud" | "lmstudio" | "ollama" | "llamacpp" | "mlxlm" | "auto";

export interface Provider {
  readonly name: string;
  readonly api_type: ApiType;
  readonly backend_type: BackendType;
  /** Up to where the protocol's own paths begin, as in https://api.openai.com/v1; no slash at its end. */
  readonly base_url: string;
}

/** Whether a provider's key can be used: `lost` needs the owner to enter it again. */
export type KeyState = "none" | "stored" | "lost";

/** Reads what the owner has set; what it gives is of this moment. */
export interface ProviderSource {
  /** The same array until one changes. */
  providers(): readonly Provider[];
  keyState(provider: string): KeyState;
  defaults(provider: string): ProviderDefaults;
  /** In plain, for one call; null: the provider needs none. Throws a `Failure` when it is lost. */
  key(provider: string): Promise<string | null>;
}

/** What the owner wants of a provider where a request does not say; null: nothing. */
export interface ProviderDefaults {
  /** Of requests that come to it as the default provider. */
  readonly model: string | null;
  readonly max_tokens: number | null;
  readonly temperature: number | null;
  /** For the whole answer. */
  readonly timeout_s: number | null;
}

export const NO_DEFAULTS: ProviderDefaults = { model: null, max_tokens: null, temperature: null, timeout_s: null };

/** One that is not stored: its key is told anew at each start. */
export interface GivenProvider {
  readonly provider: Provider;
  readonly key: string | null;
  readonly defaults: ProviderDefaults;
}

export interface ProviderStore extends ProviderSource {
  /** `key`: undefined keeps the one there is, null removes it. */
  save(provider: Provider, key: string | null | undefined): Promise<void>;
  /** Whether there was one of that name. */
  remove(name: string): boolean;
}

export type PatternType = "exact" | "prefix" | "glob" | "regex";

/** A backend and the name of the model there; null: the name that was asked for. */
export interface Target {
  /** `local` or the name of a provider. */
  readonly backend: string;
  readonly model: string | null;
}

/** All that are given must hold. They speak of the model on this machine, and never hold of one that it lacks. */
export interface RuleConditions {
  /** The model is not in memory. */
  readonly cold: boolean | null;
  readonly queue_longer_than: number | null;
  readonly ttft_ms_above: number | null;
  readonly context_too_long: boolean | null;
}

export interface RuleWords {
  readonly model_pattern: string;
  readonly pattern_type: PatternType;
  readonly target: Target;
  readonly fallbacks: readonly Target[];
  /** Higher goes first. */
  readonly priority: number;
  readonly enabled: boolean;
  /** A profile by its name: what the request leaves open it says, wherever it goes. */
  readonly profile: string | null;
  readonly privacy: "local-only" | null;
  readonly when: RuleConditions;
}

export interface Rule extends RuleWords {
  readonly id: number;
}

export interface RuleStore {
  /** The same array until one changes. */
  rules(): readonly Rule[];
  add(words: RuleWords): Rule;
  change(id: number, words: RuleWords): void;
  remove(id: number): void;
}

export interface RoutingSettings {
  /** Off: nothing leaves this machine. */
  readonly enable_cloud_routing: boolean;
  /** Takes what no rule names and this machine lacks; null: nobody does. */
  readonly default_provider: string | null;
  /** What it is asked for in place of the name that was asked; null: that name. */
  readonly default_model: string | null;
  /** Hosts that may be in a private network though their provider is not on this machine. */
  readonly private_hosts: readonly string[];
  /** Globs over the names of models for which nothing leaves this machine. */
  readonly local_only_models: readonly string[];
}

/** What a request for a model of this machine would meet now. */
export interface Outlook {
  readonly resident: boolean;
  /** Requests that wait for it, or for its load. */
  readonly queue_length: number;
  /** Tokens of prompt and answer together; null where it cannot be loaded now. */
  readonly context_length: number | null;
  /** Models that would leave memory for it. */
  readonly evicts: readonly string[];
  readonly purpose: Purpose["kind"];
  /** In memory; estimated from the headers of its files until it is there. */
  readonly bytes_weights: number;
}

export interface LocalState extends Outlook {
  /** null until it has answered. */
  readonly ttft_ms_predicted: number | null;
}

export interface Stop {
  readonly backend: string;
  readonly model: string;
  readonly reason: string;
  readonly leaves_machine: boolean;
}

export interface Plan {
  /** In order; a later one only where all before have failed before their first event. */
  readonly stops: readonly [Stop, ...Stop[]];
  readonly rule_id: number | null;
  /** That the rule applies. */
  readonly profile: string | null;
  /** Who keeps the request on this machine, in words; null: nobody. */
  readonly local_only: string | null;
}

export interface Explanation extends Plan {
  /** Of the model the first stop would use; null where that is a provider's. */
  readonly local: LocalState | null;
}

export interface ProviderTest {
  readonly outcome: "ok" | "refused" | "unauthorised" | "unreachable" | "wrong_protocol" | "key_lost";
  readonly detail: string;
  readonly latency_ms: number;
  readonly models: readonly string[];
}

/** What `auto` found, and what it asked before. */
export interface Detection {
  readonly provider: Provider | null;
  readonly tried: readonly string[];
}

export interface BreakerReport {
  readonly model: string;
  readonly state: "closed" | "open" | "half_open";
}

/** What the owner does with providers and rules, and sees of them. */
export interface RoutingDesk {
  readonly providers: ProviderStore;
  readonly rules: RuleStore;
  readonly prices: PriceStore;
  /** Throws a `Failure` for a pattern that cannot be used. */
  checkPattern(type: PatternType, pattern: string): (name: string) => boolean;
  explain(model: string, body_bytes: number, local_only: string | null): Promise<Explanation>;
  detect(signal: AbortSignal): Promise<Detection>;
  test(provider: Provider, signal: AbortSignal): Promise<ProviderTest>;
  loaded(provider: Provider, signal: AbortSignal): Promise<readonly string[]>;
  breakers(provider: string): readonly BreakerReport[];
  resetBreakers(provider: string): void;
}
