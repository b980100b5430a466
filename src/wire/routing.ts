/** How providers and rules are written in requests and answers. Knows no HTTP and no store. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import { KNOWN_PROVIDERS } from "../core/known-providers.ts";
import type { Explanation, KeyState, Provider, Rule, RuleWords, Target } from "../core/routing.ts";

const text = Type.String({ minLength: 1 });
const nullable = <Schema extends TSchema>(schema: Schema) => Type.Optional(Type.Union([schema, Type.Null()]));
const closed = { additionalProperties: false };

const apiType = Type.Union([Type.Literal("openai"), Type.Literal("anthropic")]);
const backendType = Type.Union([
  Type.Literal("cloud"),
  Type.Literal("lmstudio"),
  Type.Literal("ollama"),
  Type.Literal("llamacpp"),
  Type.Literal("mlxlm"),
  Type.Literal("auto"),
]);

export const providerRequestSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 64, description: "Letters, digits, dots, dashes and underscores." }),
    api_type: apiType,
    base_url: nullable(Type.String({ description: "Up to where the protocol's own paths begin." })),
    api_key: nullable(Type.String({ minLength: 1, description: "null removes it; left out, the one there is stays." })),
    backend_type: Type.Optional(backendType),
  },
  closed,
);

export const providerSchema = Type.Object({
  name: Type.String(),
  api_type: apiType,
  backend_type: backendType,
  base_url: Type.String(),
  key: Type.Union([Type.Literal("none"), Type.Literal("stored"), Type.Literal("lost")]),
});

/** `auto` is for the caller to resolve. */
export function readProvider(body: Static<typeof providerRequestSchema>): Provider {
  const { name, api_type } = body;
  if (!/^[\w.-]+$/.test(name) || name === "local") {
    throw wrong("name", `expected letters, digits, dots, dashes and underscores, and not "local", found "${name}"`);
  }
  if (!CAN_BE_SENT.test(body.api_key ?? "")) {
    throw wrong("api_key", "it has spaces, line ends or letters beyond ASCII, which no header can carry");
  }
  const known = KNOWN_PROVIDERS.find(
    (provider) => provider.name === (body.backend_type ?? name) || provider.name === name,
  );
  // Of `auto` the address is what is to be found.
  const base_url = body.base_url ?? known?.base_url ?? (body.backend_type === "auto" ? "http://127.0.0.1" : undefined);
  if (base_url === undefined) throw wrong("base_url", `"${name}" is not a known provider, so it must be said`);
  return {
    name,
    api_type,
    backend_type: body.backend_type ?? known?.backend_type ?? "cloud",
    base_url: baseUrl(base_url),
  };
}

/** The value stands in no error: it is a key still, however it was pasted. */
const CAN_BE_SENT = /^[!-~]*$/;

export function providerBody(provider: Provider, key: KeyState) {
  return { ...provider, key };
}

function baseUrl(given: string): string {
  const url = URL.canParse(given) ? new URL(given) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw wrong("base_url", `expected a URL of http or https, found "${given}"`);
  }
  if (url.username !== "" || url.password !== "") throw wrong("base_url", "a name or password does not belong there");
  if (url.search !== "" || url.hash !== "") throw wrong("base_url", "it has a query or a fragment");
  return url.href.replace(/\/+$/, "");
}

function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}

const patternType = Type.Union([
  Type.Literal("exact"),
  Type.Literal("prefix"),
  Type.Literal("glob"),
  Type.Literal("regex"),
]);

const limit = nullable(Type.Number({ minimum: 0 }));

// Far beyond any number of rules, and exact wherever it is kept.
const PRIORITY_MAX = 1_000_000;
const priority = Type.Integer({
  minimum: -PRIORITY_MAX,
  maximum: PRIORITY_MAX,
  description: "Higher goes first; 0 unless given.",
});

export const ruleRequestSchema = Type.Object(
  {
    model_pattern: text,
    pattern_type: patternType,
    target: Type.String({ minLength: 1, description: '"local" or the name of a provider.' }),
    target_model: nullable(text),
    fallbacks: Type.Optional(Type.Array(text, { maxItems: 16, description: "As `provider:model` or `local:model`." })),
    priority: Type.Optional(priority),
    enabled: Type.Optional(Type.Boolean()),
    profile: nullable(Type.String({ minLength: 1, description: "A profile by its name: what a request leaves open." })),
    privacy: nullable(Type.Literal("local-only")),
    when: nullable(
      Type.Object(
        {
          cold: nullable(Type.Boolean()),
          queue_longer_than: limit,
          ttft_ms_above: limit,
          context_too_long: nullable(Type.Boolean()),
        },
        closed,
      ),
    ),
  },
  closed,
);

type RuleRequest = Static<typeof ruleRequestSchema>;

export function readRule(body: RuleRequest): RuleWords {
  return {
    model_pattern: body.model_pattern,
    pattern_type: body.pattern_type,
    target: { backend: body.target, model: body.target_model ?? null },
    fallbacks: (body.fallbacks ?? []).map(readTarget),
    priority: body.priority ?? 0,
    enabled: body.enabled ?? true,
    profile: body.profile ?? null,
    privacy: body.privacy ?? null,
    when: {
      cold: body.when?.cold ?? null,
      queue_longer_than: body.when?.queue_longer_than ?? null,
      ttft_ms_above: body.when?.ttft_ms_above ?? null,
      context_too_long: body.when?.context_too_long ?? null,
    },
  };
}

/** A name alone is a backend with the model that was asked for. */
function readTarget(text: string): Target {
  const colon = text.indexOf(":");
  if (colon < 0) return { backend: text, model: null };
  return { backend: text.slice(0, colon), model: text.slice(colon + 1) || null };
}

export const ruleSchema = Type.Object({
  id: Type.Integer(),
  model_pattern: Type.String(),
  pattern_type: patternType,
  target: Type.String(),
  target_model: Type.Union([Type.String(), Type.Null()]),
  fallbacks: Type.Array(Type.String()),
  priority: Type.Integer(),
  enabled: Type.Boolean(),
  profile: Type.Union([Type.String(), Type.Null()]),
  privacy: Type.Union([Type.String(), Type.Null()]),
  when: Type.Object({}),
});

export function ruleBody({ id, target, fallbacks, ...words }: Rule) {
  const written = ({ backend, model }: Target) => (model === null ? backend : `${backend}:${model}`);
  return { id, ...words, target: target.backend, target_model: target.model, fallbacks: fallbacks.map(written) };
}

export const prioritiesSchema = Type.Array(Type.Object({ id: Type.Integer(), priority }, closed));

export const ruleTestSchema = Type.Object(
  {
    pattern_type: patternType,
    model_pattern: text,
    models: Type.Array(Type.String({ minLength: 1, maxLength: 512 }), { maxItems: 1000 }),
  },
  closed,
);

/** What a request of this model and size would meet; the request itself is not needed. */
export const explainRequestSchema = Type.Object(
  { model: text, body_bytes: nullable(Type.Integer({ minimum: 0 })), local_only: nullable(Type.Boolean()) },
  closed,
);

export const explainSchema = Type.Object({
  model: Type.String(),
  rule_id: Type.Union([Type.Integer(), Type.Null()]),
  profile: Type.Union([Type.String(), Type.Null()], { description: "That the rule applies." }),
  local_only: Type.Union([Type.String(), Type.Null()]),
  stops: Type.Array(
    Type.Object({
      backend: Type.String(),
      model: Type.String(),
      reason: Type.String(),
      leaves_machine: Type.Boolean(),
    }),
  ),
  would_load: Type.Union([Type.String(), Type.Null()]),
  would_evict: Type.Array(Type.String()),
  queue_length: Type.Union([Type.Integer(), Type.Null()], { description: "Requests that wait for the model here." }),
  context_length: Type.Union([Type.Integer(), Type.Null()], {
    description: "Tokens of prompt and answer that this machine admits now; null where the model cannot be loaded.",
  }),
  ttft_ms_predicted: Type.Union([Type.Number(), Type.Null()]),
});

export function explainBody(model: string, { stops, rule_id, profile, local_only, local }: Explanation) {
  const would_load = local !== null && !local.resident ? stops[0].model : null;
  return {
    model,
    rule_id,
    profile,
    local_only,
    stops,
    would_load,
    would_evict: local?.evicts ?? [],
    queue_length: local?.queue_length ?? null,
    context_length: local?.context_length ?? null,
    ttft_ms_predicted: local?.ttft_ms_predicted ?? null,
  };
}
