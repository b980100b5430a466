/** The owner's providers: `/api/settings/providers` sets them, `/api/providers` shows what they have. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Failure } from "../core/failure.ts";
import { KNOWN_PROVIDERS } from "../core/known-providers.ts";
import type { Provider, RoutingDesk } from "../core/routing.ts";
import { providerBody, providerRequestSchema, providerSchema, readProvider } from "../wire/routing.ts";
import { readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const json = <Properties extends Parameters<typeof Type.Object>[0]>(properties: Properties) => ({
  "application/json": Type.Object(properties),
});
const texts = Type.Array(Type.String());
const listed = Type.Array(Type.Object({ provider: Type.String(), models: texts }));
const outcome = { outcome: Type.String(), detail: Type.String(), latency_ms: Type.Number() };
const health = Type.Array(Type.Object({ provider: Type.String(), ...outcome, breakers: Type.Array(Type.Object({})) }));

const details = {
  list: describe("Server", "List the providers", json({ data: Type.Array(providerSchema) }), [403]),
  save: describe(
    "Server",
    "Add or change a provider",
    json({ ...providerSchema.properties, tried: texts }),
    [400, 403],
  ),
  remove: describe("Server", "Remove a provider", json({ removed: Type.String() }), [403, 404]),
  defaults: describe("Server", "List the providers known by name", json({ data: Type.Array(Type.Object({})) }), [403]),
  test: describe("Server", "Try a provider", json({ ...outcome, models: texts }), [403, 404]),
  reset: describe("Server", "Close a provider's breakers", json({ reset: Type.String() }), [403, 404]),
  models: describe("Server", "List the models of all providers", json({ data: listed }), [403]),
  loaded: describe("Server", "List the models that providers hold in memory", json({ data: listed }), [403]),
  health: describe("Server", "Tell how the providers are", json({ data: health }), [403]),
};

export function providerRoutes(parts: RouteParts) {
  const { desk } = parts;
  const each = async <Value>(work: (provider: Provider) => Promise<Value>) => ({
    data: await Promise.all(desk.providers.providers().map(work)),
  });
  return new Elysia({ normalize: false })
    .get(
      "/api/settings/providers",
      async () => ({ data: desk.providers.providers().map((provider) => shown(desk, provider)) }),
      { detail: details.list },
    )
    .post(
      "/api/settings/providers",
      async ({ body, request }) => {
        const wanted = readProvider(body);
        const { provider, tried } =
          wanted.backend_type === "auto"
            ? await detected(desk, wanted, request.signal)
            : { provider: wanted, tried: [] };
        await desk.providers.save(provider, body.api_key);
        // What failed before may be what was mended.
        desk.resetBreakers(provider.name);
        return { ...shown(desk, provider), tried };
      },
      { parse: async ({ request }) => await readJson(request), body: providerRequestSchema, detail: details.save },
    )
    .delete(
      "/api/settings/providers/:name",
      async ({ params }) => {
        desk.providers.remove(find(desk, params.name).name);
        return { removed: params.name };
      },
      { detail: details.remove },
    )
    .get("/api/settings/providers/defaults", async () => ({ data: KNOWN_PROVIDERS }), { detail: details.defaults })
    .post(
      "/api/settings/providers/:name/test",
      async ({ params, request }) => await desk.test(find(desk, params.name), request.signal),
      { detail: details.test },
    )
    .post(
      "/api/settings/providers/:name/reset",
      async ({ params }) => {
        desk.resetBreakers(find(desk, params.name).name);
        return { reset: params.name };
      },
      { detail: details.reset },
    )
    .get(
      "/api/providers/models",
      async ({ request }) =>
        await each(async (provider) => {
          const { models } = await desk.test(provider, request.signal);
          return { provider: provider.name, models };
        }),
      { detail: details.models },
    )
    .get(
      "/api/providers/loaded",
      async ({ request }) =>
        await each(async (provider) => ({
          provider: provider.name,
          models: await desk.loaded(provider, request.signal),
        })),
      { detail: details.loaded },
    )
    .get(
      "/api/providers/health",
      async ({ request }) =>
        await each(async (provider) => {
          const { models: _, ...told } = await desk.test(provider, request.signal);
          return { provider: provider.name, ...told, breakers: desk.breakers(provider.name) };
        }),
      { detail: details.health },
    );
}

function shown(desk: RoutingDesk, provider: Provider) {
  return providerBody(provider, desk.providers.keyState(provider.name));
}

function find(desk: RoutingDesk, name: string): Provider {
  const provider = desk.providers.providers().find((provider) => provider.name === name);
  if (provider !== undefined) return provider;
  throw new Failure("not_found", `Cannot find provider "${name}": there is none of that name`, "name");
}

async function detected(desk: RoutingDesk, wanted: Provider, signal: AbortSignal) {
  const { provider, tried } = await desk.detect(signal);
  if (provider !== null) return { provider: { ...provider, name: wanted.name }, tried };
  const state = `none of the known ones answers (${tried.join("; ")})`;
  throw new Failure("unavailable", `Cannot find a provider for "${wanted.name}": ${state}`);
}
