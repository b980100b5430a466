/** Where a request goes, in which order, and why. Pure: it asks nobody and changes nothing. */

import { Failure } from "../core/failure.ts";
import type {
  LocalState,
  Plan,
  Provider,
  RoutingSettings,
  Rule,
  RuleConditions,
  Stop,
  Target,
} from "../core/routing.ts";
import type { Matcher } from "./pattern.ts";

export interface RuleMatcher {
  readonly rule: Rule;
  readonly matches: Matcher;
}

export interface World {
  /** Of the enabled ones, the highest priority first. */
  readonly rules: readonly RuleMatcher[];
  readonly providers: ReadonlyMap<string, Provider>;
  readonly settings: Pick<RoutingSettings, "enable_cloud_routing" | "default_provider" | "default_model">;
  readonly hasModel: (name: string) => boolean;
  /** Whether the owner keeps requests for it on this machine. */
  readonly isLocalOnly: (name: string) => boolean;
  /** Of the models `modelsAskedOf` names; null: this machine does not have it. */
  local(model: string): LocalState | null;
}

export interface Question {
  readonly model: string;
  /** Of the whole request; how many exactly only the model's tokenizer knows. */
  readonly prompt_tokens_about: number;
  /** Who said that the request must stay here, in words; null: nobody. */
  readonly local_only: string | null;
}

/** Throws a `Failure` where no backend may have the request: `forbidden` when privacy is why, else `not_found`. */
export function plan(question: Question, world: World): Plan {
  const found = world.rules.find(({ rule, matches }) => matches(question.model) && holds(rule, question, world));
  const rule = found?.rule ?? null;
  const local_only = question.local_only ?? labelOf(question.model, world) ?? privacyOf(rule);
  const wanted = rule === null ? withoutRule(question.model, world) : ofRule(rule, question.model);
  const stops = wanted.map((target) => stopOf(target, world));
  const allowed = stops.filter((stop) => mayUse(stop, local_only, world));
  const [first, ...rest] = allowed;
  if (first === undefined) throw noWay(question.model, local_only, stops, world);
  return { stops: [first, ...rest], rule_id: rule?.id ?? null, profile: rule?.profile ?? null, local_only };
}

/** The models of this machine whose state decides where the question goes. */
export function modelsAskedOf(model: string, rules: readonly RuleMatcher[]): readonly string[] {
  const asked = rules.filter(({ rule, matches }) => isConditional(rule) && matches(model));
  return asked.map(({ rule }) => localModelOf(rule, model));
}

/** Whether what is sent to it stays on this machine; an ordinary proxy here may send it on, so its kind must be known. */
export function staysHere(provider: Provider, model: string): boolean {
  if (provider.backend_type === "ollama" && CLOUD_OF_OLLAMA.test(model)) return false;
  return provider.backend_type !== "cloud" && isLoopback(new URL(provider.base_url).hostname);
}

/** Ollama sends these to its own cloud: gpt-oss:120b-cloud, kimi-k2:cloud. */
const CLOUD_OF_OLLAMA = /[:-]cloud$/i;

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

interface Wanted {
  readonly backend: string;
  readonly model: string;
  readonly reason: string;
}

function ofRule(rule: Rule, asked: string): Wanted[] {
  const wanted = ({ backend, model }: Target, reason: string) => ({ backend, model: model ?? asked, reason });
  const fallback = (target: Target, index: number) => wanted(target, `rule ${rule.id}, fallback ${index + 1}`);
  return [wanted(rule.target, `rule ${rule.id}`), ...rule.fallbacks.map(fallback)];
}

/** A name may say its provider itself, as in `openai:gpt-5`; but a model of that very name here goes first. */
function withoutRule(model: string, world: World): Wanted[] {
  if (world.hasModel(model)) return [{ backend: "local", model, reason: "local model" }];
  const [provider, rest] = splitOnce(model);
  if (rest !== "" && world.providers.has(provider)) {
    return [{ backend: provider, model: rest, reason: "provider named by the model" }];
  }
  const { default_provider, default_model } = world.settings;
  if (default_provider === null) return [];
  return [{ backend: default_provider, model: default_model ?? model, reason: "default provider" }];
}

function splitOnce(text: string): readonly [string, string] {
  const colon = text.indexOf(":");
  return colon < 0 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)];
}

/** One that was removed since may still be named: it is a stop that fails, so that its fallbacks are heard. */
function stopOf(wanted: Wanted, world: World): Stop {
  const provider = world.providers.get(wanted.backend);
  const leaves_machine = wanted.backend !== "local" && (provider === undefined || !staysHere(provider, wanted.model));
  return { ...wanted, leaves_machine };
}

function mayUse(stop: Stop, local_only: string | null, world: World): boolean {
  return !stop.leaves_machine || (local_only === null && world.settings.enable_cloud_routing);
}

/** Also where the name says its provider. */
function labelOf(model: string, { isLocalOnly }: World): string | null {
  const [, rest] = splitOnce(model);
  return isLocalOnly(model) || isLocalOnly(rest) ? "the setting local_only_models" : null;
}

function privacyOf(rule: Rule | null): string | null {
  return rule?.privacy === "local-only" ? `rule ${rule.id}` : null;
}

function noWay(model: string, local_only: string | null, stops: readonly Stop[], world: World): Failure {
  const act = `Cannot route model "${model}"`;
  if (stops.length === 0) {
    const state = "it is not known here, no rule names it, and there is no default provider";
    return new Failure("not_found", `${act}: ${state}`, "model");
  }
  const names = stops.map((stop) => `"${stop.backend}"`).join(", ");
  if (local_only !== null) {
    return new Failure("forbidden", `${act}: ${local_only} keeps it on this machine, and ${names} would not`);
  }
  const [first] = stops;
  if (first !== undefined && !world.providers.has(first.backend)) {
    return new Failure("not_found", `${act}: there is no provider ${names}`, "model");
  }
  return new Failure("forbidden", `${act}: cloud routing is off, and ${names} is not on this machine`);
}

function holds(rule: Rule, question: Question, world: World): boolean {
  if (!isConditional(rule)) return true;
  const local = world.local(localModelOf(rule, question.model));
  return local !== null && conditionsHold(rule.when, local, question.prompt_tokens_about);
}

function isConditional({ when }: Rule): boolean {
  return Object.values(when).some((condition) => condition !== null);
}

function localModelOf({ target }: Rule, asked: string): string {
  return target.backend === "local" ? (target.model ?? asked) : asked;
}

function conditionsHold(when: RuleConditions, local: LocalState, prompt_tokens: number): boolean {
  const too_long = local.context_length !== null && prompt_tokens > local.context_length;
  const ttft_ms = local.ttft_ms_predicted ?? 0;
  return (
    (when.cold === null || when.cold !== local.resident) &&
    (when.queue_longer_than === null || local.queue_length > when.queue_longer_than) &&
    (when.ttft_ms_above === null || ttft_ms > when.ttft_ms_above) &&
    (when.context_too_long === null || when.context_too_long === too_long)
  );
}
