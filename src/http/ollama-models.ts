/**
 * The rest of Ollama's API: which models there are and which are in memory, and what it can do with them that is not
 * done here.
 */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { Elysia } from "elysia";
import type { ModelCard } from "../core/card.ts";
import { Failure } from "../core/failure.ts";
import type { PullStep } from "../core/hub.ts";
import { untagged } from "../core/model-names.ts";
import { PLAIN_PROFILE } from "../core/profile.ts";
import {
  copySchema,
  deleteSchema,
  namedModel,
  nameOf,
  psBody,
  psSchema,
  pullBody,
  pullLineSchema,
  pullSchema,
  showBody,
  showBodySchema,
  showSchema,
  statusSchema,
  tagsBody,
  tagsSchema,
  versionBody,
  versionSchema,
} from "../wire/ollama-models.ts";
import { ollamaLastWords } from "../wire/ollama-problem.ts";
import { isBug } from "../wire/problem.ts";
import { violation } from "../wire/violation.ts";
import { readJson } from "./body.ts";
import { pulled } from "./event-stream.ts";
import { describeOllama, NDJSON, OLLAMA } from "./ollama-door.ts";
import type { RouteParts } from "./parts.ts";

const json = (schema: TSchema) => ({ "application/json": schema });
const text = { "text/plain": Type.String() };

const details = {
  root: describeOllama("Tell that the server is up", text, [403]),
  version: describeOllama("Tell the version", json(versionSchema), [403]),
  tags: describeOllama("List the models", json(tagsSchema), [403]),
  ps: describeOllama("List the models in memory", json(psSchema), [403]),
  show: describeOllama("Describe a model", json(showBodySchema), [400, 403, 404, 500], showSchema),
  pull: describeOllama(
    "Fetch a model from the hub",
    { ...json(statusSchema), [NDJSON]: pullLineSchema },
    [400, 403, 404, 502, 503],
    pullSchema,
  ),
  copy: describeOllama("Give a model another name, as a profile", json(statusSchema), [400, 403, 404], copySchema),
  delete: describeOllama(
    "Remove a profile, or a model that was pulled",
    json(statusSchema),
    [400, 403, 404],
    deleteSchema,
  ),
  refused: (what: string) => describeOllama(`Refused: ${what}`, json(statusSchema), [400, 403]),
};

export function ollamaModelRoutes(parts: RouteParts) {
  const { models, owner, version } = parts;
  const cardOf = (name: string) => readableCard(parts, name);
  const greet = (request: Request) =>
    new Response(greeting(request, version), { headers: { "content-type": "text/plain; charset=utf-8" } });
  return new Elysia({ normalize: false })
    .get("/", async ({ request }) => greet(request), { detail: details.root })
    .head("/", async ({ request }) => greet(request), { detail: details.root })
    .get("/api/version", async () => versionBody(version), { detail: details.version })
    .get("/api/tags", async () => tagsBody(models.models(), cardOf), { detail: details.tags })
    .get("/api/ps", async () => psBody(owner.status().loaded_models, models.models(), cardOf, SHARES_MEMORY), {
      detail: details.ps,
    })
    .post("/api/show", async ({ request }) => await show(parts, request), { parse: "none", detail: details.show })
    .post("/api/pull", async ({ request }) => await pull(parts, request), { parse: "none", detail: details.pull })
    .post("/api/push", async () => refuse("push a model", "this server has nowhere to send it"), refusal("push"))
    .post("/api/create", async () => refuse("create a model", MAKES_NONE), refusal("create"))
    .post("/api/copy", async ({ request }) => await copy(parts, request), { parse: "none", detail: details.copy })
    .delete("/api/delete", async ({ request }) => await remove(parts, request), {
      parse: "none",
      detail: details.delete,
    });
}

const MAKES_NONE = "this server makes none; a profile (POST /api/copy) gives one another name, and settings of its own";

const refusal = (what: string) => ({ parse: "none", detail: details.refused(`${what} a model`) }) as const;

// A Mac's graphics chip; elsewhere the models run on the processor.
const SHARES_MEMORY = process.platform === "darwin";

/** Ollama's clients compare the sentence to find it running; whoever looks with a browser is told who is. */
function greeting(request: Request, version: string): string {
  const is_browser = request.headers.get("accept")?.includes("text/html") ?? false;
  return is_browser ? `Bunsen ${version} is running, and speaks Ollama's API` : "Ollama is running";
}

async function show({ models }: RouteParts, request: Request) {
  const record = namedModel(await read(request, showSchema), models);
  return showBody(record, models.card(record.name));
}

/** One model with damaged files must not hide the others. */
function readableCard({ models }: RouteParts, name: string): ModelCard | null {
  try {
    return models.card(name);
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

/** No file is copied: the new name is a profile, with all that the source says if it is one itself. */
async function copy({ models, profiles }: RouteParts, request: Request) {
  const { source, destination } = await read(request, copySchema);
  const { name: model } = namedModel({ model: source }, models);
  const like = profiles.profiles().find(({ name }) => name === model);
  const { id: _, ...words } = like ?? { id: 0, ...PLAIN_PROFILE, model };
  await profiles.add({ ...words, name: untagged(destination) });
  return DONE;
}

/** A profile goes before the model under it. */
async function remove({ models, profiles, owner }: RouteParts, request: Request) {
  const { name } = namedModel(await read(request, deleteSchema), models);
  const profile = profiles.profiles().find((profile) => profile.name === name);
  if (profile === undefined) await owner.remove(name);
  else await profiles.remove(String(profile.id));
  return DONE;
}

const DONE = { status: "success" };

/** What is here already is not asked for anew. */
async function pull(parts: RouteParts, request: Request) {
  const body = await read(request, pullSchema);
  const name = nameOf(body);
  const is_here = parts.models.record(name) !== null;
  const steps = unlessLeft(is_here ? [] : parts.hub.pull(name, request.signal), request.signal);
  if (body.stream === false) {
    for await (const _ of steps);
    return DONE;
  }
  const lines = pullLines(parts, parts.ids.of(request), steps);
  return new Response(pulled(lines), { headers: { "content-type": NDJSON } });
}

/** Whoever has left is told nothing more. */
async function* unlessLeft(
  steps: AsyncIterable<PullStep> | Iterable<PullStep>,
  client: AbortSignal,
): AsyncGenerator<PullStep, void, undefined> {
  try {
    yield* steps;
  } catch (error) {
    if (!client.aborted) throw error;
  }
}

async function* pullLines(
  { reportBug }: RouteParts,
  request_id: string,
  steps: AsyncIterable<PullStep>,
): AsyncGenerator<string, void, undefined> {
  const { frame } = OLLAMA.framing;
  try {
    for await (const step of steps) if (step.kind !== "done") yield frame(pullBody(step));
    yield frame(DONE);
  } catch (error) {
    if (isBug(error)) reportBug(error, request_id);
    yield frame(ollamaLastWords(error, request_id));
  }
}

async function read<Schema extends TSchema>(request: Request, schema: Schema): Promise<Static<Schema>> {
  const value = await readJson(request, OLLAMA.protocol);
  if (!Value.Check(schema, value)) throw violation(Value.Errors(schema, value));
  return value;
}

function refuse(act: string, state: string): never {
  throw new Failure("unsupported", `Cannot ${act}: ${state}`);
}
