/** The owner's view of models, memory and requests: `/admin/…`, and the same under `/v1/admin/…`. */

import type { TSchema } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Failure } from "../core/failure.ts";
import {
  adminHealthSchema,
  appliedSchema,
  cancelledSchema,
  ledgerSchema,
  loadedSchema,
  loadingEventSchema,
  poolStatusSchema,
  queueSchema,
  unloadedSchema,
} from "../wire/owner.ts";
import { noBody } from "./body.ts";
import { pulled } from "./event-stream.ts";
import { dataLine, EVENT_STREAM } from "./generation.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Administration";
const json = (schema: TSchema) => ({ "application/json": schema });

const details = {
  health: describe(TAG, "Tell that the server is up, and what memory it takes", json(adminHealthSchema), [403]),
  status: describe(TAG, "List the models in memory", json(poolStatusSchema), [403]),
  load: describe(TAG, "Load a model and keep it", json(loadedSchema), [403, 404, 500, 503]),
  unload: describe(TAG, "Unload a model when its answers have ended", json(unloadedSchema), [403, 404]),
  progress: describe(TAG, "Follow a load", { "text/event-stream": loadingEventSchema }, [403, 404]),
  ledger: describe(TAG, "Show who takes how much memory", json(ledgerSchema), [403]),
  queue: describe(TAG, "List the requests that wait or are answered", json(queueSchema), [403]),
  cancel: describe(TAG, "End a request", json(cancelledSchema), [403, 404]),
  reload: describe(TAG, "Read the settings anew", json(appliedSchema), [400, 403, 503]),
};

export function adminRoutes(parts: RouteParts) {
  const app = new Elysia({ normalize: false });
  for (const prefix of ["", "/v1"]) app.use(modelRoutes(prefix, parts)).use(requestRoutes(prefix, parts));
  return app;
}

const hidden = { detail: { hide: true } };

function modelRoutes(prefix: string, { owner }: RouteParts) {
  const idOf = (request: Request, before: string, after = "") => {
    const path = new URL(request.url).pathname.slice(`${prefix}${before}`.length);
    return decodeURIComponent(after === "" ? path : path.slice(0, -after.length));
  };
  const load = async (request: Request) => {
    const loaded = await loadOrCause(owner.load(idOf(request, "/admin/models/load/")));
    return { status: "loaded", ...loaded };
  };
  const unload = async (request: Request) => {
    const model_id = idOf(request, "/admin/models/unload/");
    await owner.unload(model_id);
    return { status: "unloaded", model_id };
  };
  const progress = async (request: Request) => {
    const path = new URL(request.url).pathname;
    if (!path.endsWith(PROGRESS)) throw new Failure("not_found", `Cannot answer GET ${path}: there is no such route`);
    const events = owner.progress(idOf(request, "/admin/models/", PROGRESS), request.signal);
    return new Response(pulled(dataLines(events)), { headers: { "content-type": EVENT_STREAM } });
  };
  return (
    new Elysia({ normalize: false, prefix })
      .onParse(async ({ request }) => noBody(request))
      .get("/admin/models/status", async () => owner.status(), { detail: details.status })
      .post("/admin/models/load/:id", async ({ request }) => await load(request), { detail: details.load })
      .post("/admin/models/unload/:id", async ({ request }) => await unload(request), { detail: details.unload })
      .get("/admin/models/:id/loading-progress", async ({ request }) => await progress(request), {
        detail: details.progress,
      })
      // Ids with their slashes as they are.
      .post("/admin/models/load/*", async ({ request }) => await load(request), hidden)
      .post("/admin/models/unload/*", async ({ request }) => await unload(request), hidden)
      .get("/admin/models/*", async ({ request }) => await progress(request), hidden)
  );
}

function requestRoutes(prefix: string, { owner, version }: RouteParts) {
  const health = () => ({ status: "ok", version, memory: owner.status().memory });
  const cancel = (request_id: string) => {
    owner.cancel(request_id);
    return { status: "cancelled", request_id };
  };
  return new Elysia({ normalize: false, prefix })
    .onParse(async ({ request }) => noBody(request))
    .get("/admin/health", async () => health(), { detail: details.health })
    .get("/admin/ledger", async () => owner.ledger(), { detail: details.ledger })
    .get("/admin/queue", async () => owner.queue(), { detail: details.queue })
    .delete("/admin/requests/:id", async ({ params }) => cancel(params.id), { detail: details.cancel })
    .post("/admin/reload-config", async () => await owner.reload(), { detail: details.reload });
}

const PROGRESS = "/loading-progress";

/** A load that fails is this server's failure, whatever is wrong with the files. */
async function loadOrCause<Loaded>(load: Promise<Loaded>): Promise<Loaded> {
  try {
    return await load;
  } catch (error) {
    const is_told = error instanceof Failure && (error.kind === "not_found" || error.kind === "no_memory");
    throw error instanceof Failure && !is_told ? new Failure("engine", error.message, error.parameter) : error;
  }
}

async function* dataLines(events: AsyncIterable<object>): AsyncGenerator<string, void, undefined> {
  for await (const event of events) yield dataLine(event);
}
