/** Sends each request where the policy says, and onward where that fails before its first event. */

import { assert } from "../core/assert.ts";
import type { Backend } from "../core/backend.ts";
import type { Call, CountedUsage, Gateway, Reply, Trace } from "../core/exchange.ts";
import { Failure, type FailureKind } from "../core/failure.ts";
import { onceFor } from "../core/once-for.ts";
import type { Price } from "../core/prices.ts";
import { PLAIN_PROFILE, type Profile } from "../core/profile.ts";
import {
  type Explanation,
  type LocalState,
  NO_DEFAULTS,
  type Outlook,
  type Plan,
  type Provider,
  type ProviderDefaults,
  type ProviderSource,
  type RoutingSettings,
  type Rule,
  type Stop,
} from "../core/routing.ts";
import { generateTogether } from "../core/together.ts";
import { begun } from "./begun.ts";
import { type Defaults, withDefaults } from "./defaults.ts";
import type { LocalWatch } from "./local-watch.ts";
import type { Meaning } from "./names.ts";
import { compilePattern } from "./pattern.ts";
import { modelsAskedOf, plan, type RuleMatcher, type World } from "./policy.ts";
import type { AddressGuard } from "./remote/address.ts";
import { askProvider } from "./remote/remote-backend.ts";
import { type Tuning, Upstream } from "./remote/upstream.ts";
import { UpstreamFailure } from "./remote/upstream-failure.ts";

export interface RouterParts {
  readonly local: Backend;
  /** Whether this machine has a model of that name. */
  readonly hasModel: (name: string) => boolean;
  /** What a name stands for on this machine. */
  readonly meaning: (name: string) => Meaning;
  /** What a request for the model would meet. Throws a `Failure` where its files cannot be read. */
  readonly outlook: (name: string) => Promise<Outlook>;
  readonly watch: LocalWatch;
  readonly providers: ProviderSource;
  /** As they are stored, in any order; the same array until one changes. */
  readonly rules: () => readonly Rule[];
  /** The same array until one changes. */
  readonly prices: () => readonly Price[];
  readonly settings: () => RoutingSettings;
  readonly guard: AddressGuard;
  readonly tuning: Tuning;
  readonly random: () => number;
}

export class Router implements Gateway {
  readonly #parts: RouterParts;
  readonly #upstreams = new Map<string, Upstream>();
  readonly #byName = onceFor((list: readonly Provider[]) => new Map(list.map((provider) => [provider.name, provider])));
  readonly #compiled = onceFor(compiledRules);
  readonly #priced = onceFor(compiledPrices);
  readonly #kept = onceFor((globs: readonly string[]) => globs.map((glob) => compilePattern("glob", glob)));

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  async open(call: Call, trace: Trace, signal: AbortSignal): Promise<Reply> {
    const { stops, profile } = await this.#plan(call.model, call.body.length, call.local_only);
    const named = profile === null ? null : this.#profile(profile);
    for (const [index, stop] of stops.entries()) {
      const last = index === stops.length - 1;
      try {
        return await this.#ask(stop, named === null ? call : applied(call, named, stop), trace, signal);
      } catch (error) {
        if (signal.aborted || !mayGoOn(error) || last)
          return inOwnWords(error, call, this.#providers().get(stop.backend), trace);
      }
    }
    assert(false, "the last stop answers or throws");
  }

  /** Where a request would go; asks nobody. */
  async explain(model: string, body_bytes: number, local_only: string | null): Promise<Explanation> {
    const made = await this.#plan(model, body_bytes, local_only);
    const [first] = made.stops;
    return { ...made, local: first.backend === "local" ? await this.#localState(first.model) : null };
  }

  upstream(provider: string): Upstream {
    const known = this.#upstreams.get(provider);
    if (known !== undefined) return known;
    const { tuning, random, providers } = this.#parts;
    const { timeout_s } = providers.defaults(provider);
    // Whoever gives a slow server ten minutes for an answer gives it as many for the first word.
    const own = timeout_s === null ? {} : { first_byte_ms_max: timeout_s * 1000, total_ms_max: timeout_s * 1000 };
    const limits = { ...tuning, ...own };
    const upstream = new Upstream(provider, limits, random);
    this.#upstreams.set(provider, upstream);
    return upstream;
  }

  async #plan(model: string, body_bytes: number, local_only: string | null): Promise<Plan> {
    const prompt_tokens_about = Math.ceil(body_bytes / BYTES_PER_TOKEN);
    const states = new Map<string, LocalState | null>();
    for (const name of modelsAskedOf(model, this.#matchers())) {
      if (!states.has(name)) states.set(name, await this.#localState(name));
    }
    const world = this.#world();
    return plan({ model, prompt_tokens_about, local_only }, { ...world, local: (name) => states.get(name) ?? null });
  }

  async #ask(stop: Stop, call: Call, trace: Trace, signal: AbortSignal): Promise<Reply> {
    trace.backend = stop.backend;
    trace.model_served = stop.model;
    trace.route_reason = stop.reason;
    trace.price = this.#priceOf(stop);
    if (stop.backend === "local") return await this.#askLocal(call, stop.model, trace, signal);
    const provider = this.#providers().get(stop.backend);
    if (provider === undefined) {
      throw new Failure("not_found", `Cannot use provider "${stop.backend}": there is none of that name`, "model");
    }
    await this.#parts.guard.check(provider, this.#parts.settings().private_hosts);
    const key = await this.#parts.providers.key(provider.name);
    const own = this.#parts.providers.defaults(provider.name);
    const wanted = own === NO_DEFAULTS ? call : withDefaults(call, wordsOf(own));
    return await askProvider(wanted, { ...stop, provider, key }, this.upstream(provider.name), trace, signal);
  }

  async #askLocal(call: Call, model: string, trace: Trace, signal: AbortSignal): Promise<Reply> {
    const { local, watch } = this.#parts;
    const neutral = call.neutral();
    return await watch.waiting(model, async (): Promise<Reply> => {
      switch (neutral.kind) {
        case "generation": {
          const requests = neutral.generations.map((request) => ({ ...request, model }));
          const events = await begun(generateTogether(local, requests, signal));
          assert(events !== null, "a backend ends every answer with a terminal event");
          return { kind: "events", events };
        }
        case "embedding": {
          const embeddings = await local.embed({ ...neutral.request, model }, signal);
          trace.usage = readOnly(embeddings);
          return { kind: "embeddings", embeddings };
        }
        case "rerank": {
          const scores = await local.rerank({ ...neutral.request, model }, signal);
          trace.usage = readOnly(scores);
          return { kind: "scores", scores };
        }
        case "count":
          return { kind: "count", prompt_tokens: await local.count({ ...neutral.request, model }, signal) };
      }
    });
  }

  /** A rule may name one that was removed since. */
  #profile(name: string): Profile {
    const { profile } = this.#parts.meaning(name);
    if (profile !== null) return profile;
    throw new Failure("unavailable", `Cannot apply profile "${name}": a rule names it, and there is none of that name`);
  }

  #priceOf({ backend, model }: Stop): Price | null {
    const fits = this.#priced(this.#parts.prices()).find(
      ({ matches }) => matches(model) || matches(`${backend}:${model}`),
    );
    return fits?.price ?? null;
  }

  #world(): Omit<World, "local"> {
    const { settings, hasModel, meaning } = this.#parts;
    const now = settings();
    const globs = this.#kept(now.local_only_models);
    const isLocalOnly = (name: string) => globs.some((fits) => fits(name) || fits(meaning(name).model));
    return { rules: this.#matchers(), providers: this.#providers(), settings: now, hasModel, isLocalOnly };
  }

  /** null where this machine lacks it, or cannot read it. */
  async #localState(model: string): Promise<LocalState | null> {
    const { hasModel, outlook, watch } = this.#parts;
    if (!hasModel(model)) return null;
    try {
      return { ...(await outlook(model)), ttft_ms_predicted: watch.predicted(model) };
    } catch (error) {
      if (error instanceof Failure) return null;
      throw error;
    }
  }

  #providers(): ReadonlyMap<string, Provider> {
    return this.#byName(this.#parts.providers.providers());
  }

  #matchers(): readonly RuleMatcher[] {
    return this.#compiled(this.#parts.rules());
  }
}

/** Throws a `Failure` where it says what only this machine's models understand. */
function applied(call: Call, profile: Profile, { backend }: Stop): Call {
  const { name, template_options, context_length } = profile;
  if (backend !== "local" && (Object.keys(template_options).length > 0 || context_length !== null)) {
    const state = 'its "template_options" and "context_length" have no words in the protocols of providers';
    throw new Failure("unsupported", `Cannot apply profile "${name}" at "${backend}": ${state}`);
  }
  return withDefaults(call, profile);
}

function compiledRules(rules: readonly Rule[]): readonly RuleMatcher[] {
  const enabled = rules.filter((rule) => rule.enabled);
  // Of equal ones the older goes first.
  const sorted = enabled.toSorted((one, other) => other.priority - one.priority || one.id - other.id);
  return sorted.map((rule) => ({ rule, matches: compilePattern(rule.pattern_type, rule.model_pattern) }));
}

function compiledPrices(prices: readonly Price[]) {
  return prices.map((price) => ({ price, matches: compilePattern("glob", price.pattern) }));
}

function wordsOf({ max_tokens, temperature }: ProviderDefaults): Defaults {
  return { ...PLAIN_PROFILE, max_tokens, temperature };
}

// English and code both have about four; the rest of a request's JSON makes this an upper bound.
const BYTES_PER_TOKEN = 4;

/** Nothing was written. */
function readOnly({ prompt_tokens }: { readonly prompt_tokens: number }): CountedUsage {
  return { prompt_tokens, completion_tokens: 0, cached_tokens: null, reasoning_tokens: null };
}

/** What is wrong with the request itself is wrong everywhere. */
const FINAL: ReadonlySet<FailureKind> = new Set(["invalid_request", "forbidden", "too_large"]);

function mayGoOn(error: unknown): boolean {
  return error instanceof Failure && !FINAL.has(error.kind);
}

/** The refusal of a provider whose protocol the caller speaks is passed on as it is. */
function inOwnWords(error: unknown, call: Call, provider: Provider | undefined, trace: Trace): Reply {
  const same_protocol = provider?.api_type === call.protocol;
  if (!(error instanceof UpstreamFailure) || error.answer === null || !same_protocol) throw error;
  trace.error_type = `http_${error.answer.status}`;
  return { kind: "body", ...error.answer };
}
