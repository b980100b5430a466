/** The owner's routing rules: `/api/settings/rules`, and `POST /admin/route/explain`, which executes nothing. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Failure } from "../core/failure.ts";
import type { RoutingDesk, Rule, RuleWords } from "../core/routing.ts";
import {
  explainBody,
  explainRequestSchema,
  explainSchema,
  prioritiesSchema,
  readRule,
  ruleBody,
  ruleRequestSchema,
  ruleSchema,
  ruleTestSchema,
} from "../wire/routing.ts";
import { readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const list = { "application/json": Type.Object({ data: Type.Array(ruleSchema) }) };
const one = { "application/json": ruleSchema };
const matches = { "application/json": Type.Object({ matches: Type.Array(Type.String()) }) };
const removed = { "application/json": Type.Object({ removed: Type.Integer() }) };

const details = {
  list: describe("Server", "List the rules, the first to be asked first", list, [403]),
  add: describe("Server", "Add a rule", one, [400, 403]),
  change: describe("Server", "Change a rule", one, [400, 403, 404]),
  remove: describe("Server", "Remove a rule", removed, [403, 404]),
  priorities: describe("Server", "Set the priorities of rules", list, [400, 403, 404]),
  test: describe("Server", "Tell which models a pattern fits", matches, [400, 403]),
  explain: describe("Server", "Tell where a request would go", { "application/json": explainSchema }, [400, 403, 404]),
};

export function ruleRoutes(parts: RouteParts) {
  const { desk } = parts;
  const parse = async ({ request }: { request: Request }) => await readJson(request);
  const checked = (words: RuleWords) => {
    desk.checkPattern(words.pattern_type, words.model_pattern);
    refuseUnknown(desk, words);
    refuseUnknownProfile(parts, words);
    return words;
  };
  return new Elysia({ normalize: false })
    .get("/api/settings/rules", async () => ({ data: inOrder(desk) }), { detail: details.list })
    .post("/api/settings/rules", async ({ body }) => ruleBody(desk.rules.add(checked(readRule(body)))), {
      parse,
      body: ruleRequestSchema,
      detail: details.add,
    })
    .put(
      "/api/settings/rules/priorities",
      async ({ body }) => {
        const wanted = body.map(({ id, priority }) => ({ ...find(desk, String(id)), priority }));
        for (const { id, ...words } of wanted) desk.rules.change(id, words);
        return { data: inOrder(desk) };
      },
      { parse, body: prioritiesSchema, detail: details.priorities },
    )
    .put(
      "/api/settings/rules/:id",
      async ({ body, params }) => {
        const { id } = find(desk, params.id);
        const words = checked(readRule(body));
        desk.rules.change(id, words);
        return ruleBody({ id, ...words });
      },
      { parse, body: ruleRequestSchema, detail: details.change },
    )
    .delete(
      "/api/settings/rules/:id",
      async ({ params }) => {
        const { id } = find(desk, params.id);
        desk.rules.remove(id);
        return { removed: id };
      },
      { detail: details.remove },
    )
    .post(
      "/api/settings/rules/test",
      async ({ body }) => {
        const fits = desk.checkPattern(body.pattern_type, body.model_pattern);
        return { matches: body.models.filter(fits) };
      },
      { parse, body: ruleTestSchema, detail: details.test },
    )
    .use(explainRoutes("", parts))
    .use(explainRoutes("/v1", parts));
}

function explainRoutes(prefix: string, { desk }: RouteParts) {
  return new Elysia({ normalize: false, prefix }).post(
    "/admin/route/explain",
    async ({ body }) => {
      const local_only = body.local_only === true ? "the request" : null;
      return explainBody(body.model, await desk.explain(body.model, body.body_bytes ?? 0, local_only));
    },
    {
      parse: async ({ request }) => await readJson(request),
      body: explainRequestSchema,
      detail: details.explain,
    },
  );
}

function inOrder(desk: RoutingDesk) {
  const sorted = desk.rules.rules().toSorted((one, other) => other.priority - one.priority || one.id - other.id);
  return sorted.map(ruleBody);
}

function find(desk: RoutingDesk, id: string): Rule {
  const rule = desk.rules.rules().find((rule) => String(rule.id) === id);
  if (rule !== undefined) return rule;
  throw new Failure("not_found", `Cannot find rule ${id}: there is none of that number`, "id");
}

function refuseUnknownProfile({ profiles }: RouteParts, { profile }: RuleWords): void {
  const names = profiles.profiles().map(({ name }) => name);
  if (profile === null || names.includes(profile)) return;
  const state = `there is no profile "${profile}"; known: ${names.join(", ") || "none"}`;
  throw new Failure("invalid_request", `Cannot use "profile": ${state}`, "profile");
}

function refuseUnknown(desk: RoutingDesk, { target, fallbacks }: RuleWords): void {
  const names = new Set(["local", ...desk.providers.providers().map((provider) => provider.name)]);
  const unknown = [target, ...fallbacks].find(({ backend }) => !names.has(backend));
  if (unknown === undefined) return;
  const parameter = unknown === target ? "target" : "fallbacks";
  const state = `"${unknown.backend}" is no provider; known: ${[...names].join(", ")}`;
  throw new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}
