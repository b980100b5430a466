/** `POST /v1/responses`, and what is kept of them: `GET`, `DELETE /v1/responses/{id}`, its items, `…/cancel`. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { ApiKey } from "../core/api-keys.ts";
import { Failure } from "../core/failure.ts";
import type { KeptResponse, ResponseShelf } from "../core/responses.ts";
import { compactionRequestSchema, compactionSchema, readCompaction } from "../wire/openai-compaction.ts";
import { ResponseWriter } from "../wire/openai-response-answer.ts";
import {
  cutShort,
  eventsOfCutShort,
  outputItemSchema,
  responseEventSchema,
  responseSchema,
} from "../wire/openai-response-body.ts";
import { itemPage, itemPageSchema, readItemQuery, readShowQuery } from "../wire/openai-response-list.ts";
import {
  inputItems,
  inputTokensRequestSchema,
  isQueued,
  isWhole,
  markOf,
  readInputTokens,
  readResponse,
  requestOf,
  responseId,
  responseRequestSchema,
} from "../wire/openai-responses.ts";
import { comment, waitingWords } from "../wire/waiting.ts";
import { BackgroundAnswers, Told } from "./background.ts";
import { noBody } from "./body.ts";
import { CallersShelf } from "./callers-shelf.ts";
import { openDoor } from "./door.ts";
import { followed } from "./event-stream.ts";
import { type Begin, GENERATION_PROBLEMS, namedEvent, type Tell } from "./generation.ts";
import { OPENAI } from "./openai-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";
import { neverSilent } from "./silence.ts";

const TAG = "OpenAI";
const whole = { "application/json": responseSchema };
const counted = Type.Object({ object: Type.Literal("response.input_tokens"), input_tokens: Type.Integer() });
const deleted = Type.Object({ id: Type.String(), object: Type.Literal("response"), deleted: Type.Literal(true) });

const details = {
  create: describe(
    TAG,
    "Answer a talk, and keep the answer",
    { ...whole, "text/event-stream": responseEventSchema },
    GENERATION_PROBLEMS,
    responseRequestSchema,
  ),
  count: describe(
    TAG,
    "Count the tokens of a talk",
    { "application/json": counted },
    GENERATION_PROBLEMS,
    inputTokensRequestSchema,
  ),
  compact: describe(
    TAG,
    "Sum up a talk, so that it goes on with fewer tokens",
    { "application/json": compactionSchema },
    GENERATION_PROBLEMS,
    compactionRequestSchema,
  ),
  show: describe(
    TAG,
    "Show an answer that is kept, or tell again the events of one in the background, and those to come",
    { ...whole, "text/event-stream": responseEventSchema },
    [400, 403, 404],
  ),
  items: describe(
    TAG,
    "List what an answer was given to",
    { "application/json": itemPageSchema(outputItemSchema) },
    [400, 403, 404],
  ),
  cancel: describe(TAG, "Cancel an answer in the background", whole, [400, 403, 404]),
  remove: describe(TAG, "Remove an answer that is kept", { "application/json": deleted }, [403, 404]),
};

/** Events have names here, and none after the last of an answer. */
const FRAMING = { ...OPENAI.framing, frame: namedEvent, ending: "" };

const DOOR = {
  ...OPENAI,
  framing: FRAMING,
  parameters: { messages: "input", reasoning_effort: "reasoning.effort" },
};

export function responseRoutes(parts: RouteParts) {
  const { responses } = parts;
  const running = new BackgroundAnswers();
  const standing = (response: KeptResponse) => {
    const is_cut = isQueued(response) && running.find(response.id) === null;
    return is_cut ? { ...response, body: cutShort(response.body) } : response;
  };
  const shelfOf: ShelfOf = (caller) => new CallersShelf(responses, caller, standing);
  const seen = (request: Request) => shelfOf(parts.gate.callerOf(request));
  const show = (response: KeptResponse) => {
    if (!isQueued(response)) return response.body;
    return running.find(response.id)?.body() ?? cutShort(response.body);
  };
  const create = openDoor(parts, {
    ...DOOR,
    endpoint: "responses",
    isWhole: (body, caller) => isWhole(body, shelfOf(caller)),
    schema: responseRequestSchema,
    read: (body, request_id, caller) => {
      const shelf = shelfOf(caller);
      const asked = readResponse(body, request_id, shelf);
      const writer = new ResponseWriter(asked, { now: parts.now, keep: (response) => shelf.save(response) });
      const stream = body.stream ?? false;
      const generation = { kind: "generation", generations: [asked.generation], stream, writer } as const;
      if (!body.background) return generation;
      const background: Begin = (answer, cancel) =>
        begin(parts, running, { request_id, writer, answer, cancel, stream });
      return { ...generation, background };
    },
  });
  const count = countDoor(parts, shelfOf);
  const compact = compactDoor(parts, shelfOf);
  return new Elysia({ normalize: false })
    .post("/v1/responses", async ({ request }) => await create(request), { parse: "none", detail: details.create })
    .post("/v1/responses/input_tokens", async ({ request }) => await count(request), {
      parse: "none",
      detail: details.count,
    })
    .post("/v1/responses/compact", async ({ request }) => await compact(request), {
      parse: "none",
      detail: details.compact,
    })
    .get(
      "/v1/responses/:id",
      async ({ params, request }) => {
        const { stream, after } = readShowQuery(new URL(request.url).searchParams);
        const response = found(seen(request), params.id);
        return stream ? told(parts, running, response, after) : show(response);
      },
      { detail: details.show },
    )
    .get(
      "/v1/responses/:id/input_items",
      async ({ params, request }) => {
        const query = readItemQuery(new URL(request.url).searchParams);
        const shelf = seen(request);
        found(shelf, params.id);
        return itemPage(inputItems(params.id, shelf), query);
      },
      { detail: details.items },
    )
    .post(
      "/v1/responses/:id/cancel",
      async ({ params, request }) => {
        const shelf = seen(request);
        refuseWaited(found(shelf, params.id));
        await running.cancel(params.id);
        return show(found(shelf, params.id));
      },
      { parse: async ({ request }) => noBody(request), detail: details.cancel },
    )
    .delete(
      "/v1/responses/:id",
      async ({ params, request }) => {
        const { id } = found(seen(request), params.id);
        await running.cancel(id);
        responses.remove(id);
        return { id, object: "response", deleted: true };
      },
      { detail: details.remove },
    );
}

/** What a caller sees of what is kept. */
type ShelfOf = (caller: ApiKey | null) => CallersShelf;

function countDoor(parts: RouteParts, shelfOf: ShelfOf) {
  return openDoor(parts, {
    ...DOOR,
    endpoint: "input_tokens",
    schema: inputTokensRequestSchema,
    isWhole: (body, caller) => isWhole(body, shelfOf(caller)),
    read: (body, request_id, caller) => {
      const request = readInputTokens(body, request_id, shelfOf(caller));
      return { kind: "count", request, body: (input_tokens) => ({ object: "response.input_tokens", input_tokens }) };
    },
  });
}

function compactDoor(parts: RouteParts, shelfOf: ShelfOf) {
  return openDoor(parts, {
    ...DOOR,
    endpoint: "responses",
    schema: compactionRequestSchema,
    // What comes of it is for here: no other server could read it.
    isWhole: () => false,
    read: (body, request_id, caller) => {
      const { generation, writer } = readCompaction(body, request_id, shelfOf(caller), parts.now());
      return { kind: "generation", generations: [generation], stream: false, writer };
    },
  });
}

interface Begun {
  readonly request_id: string;
  readonly writer: ResponseWriter;
  readonly answer: (tell: Tell) => Promise<void>;
  readonly cancel: () => void;
  readonly stream: boolean;
}

function begin(parts: RouteParts, running: BackgroundAnswers, begun: Begun): Response {
  const { request_id, writer, answer, cancel, stream } = begun;
  const id = responseId(markOf(request_id));
  const told = new Told();
  const tell: Tell = (chunks) => told.add(...chunks.map(namedEvent));
  tell(writer.queued());
  const run = async () => {
    await answer(tell).catch((error: unknown) => tell([writer.failed(error)]));
    parts.responses.keepEvents(id, told.events);
  };
  const done = run().catch((error: unknown) => parts.reportBug(error, request_id));
  running.begin(id, { told, body: () => writer.current(), done, cancel });
  return stream ? follow(parts, id, told, BEGINNING) : Response.json(writer.current());
}

/** Before the first event. */
const BEGINNING = -1;

/** What is behind event `after`: of an answer that runs also what is yet to come, of one that has ended what was kept. */
function told(parts: RouteParts, running: BackgroundAnswers, response: KeptResponse, after: number): Response {
  const { id, body } = response;
  const { responses } = parts;
  const live = running.find(id);
  if (live !== null) return follow(parts, id, live.told, after);
  const told = new Told();
  told.end();
  const kept = responses.eventsOf(id);
  if (kept !== null) {
    told.add(...kept);
    return follow(parts, id, told, after);
  }
  if (!isQueued(response)) throw untold(id);
  told.add(...eventsOfCutShort(body, after).map(namedEvent));
  return follow(parts, id, told, BEGINNING);
}

function follow({ owner, silence_ms }: RouteParts, id: string, told: Told, after: number): Response {
  const words = () => comment(waitingWords(owner.waitOf(requestOf(id))));
  return followed(neverSilent(told.follow(after), words, silence_ms));
}

function untold(id: string): Failure {
  const state = 'it was not asked for with "background": true, and its events were not kept';
  return new Failure("unsupported", `Cannot stream response ${JSON.stringify(id)}: ${state}`, "stream");
}

function found(responses: ResponseShelf, id: string): KeptResponse {
  const response = responses.find(id);
  if (response !== null) return response;
  throw new Failure("not_found", `Cannot find response ${JSON.stringify(id)}: it is not kept here`, "response_id");
}

function refuseWaited({ id, body }: KeptResponse): void {
  if (Reflect.get(body, "background") === true) return;
  const state = "it was given while its caller waited, and has ended";
  throw new Failure("invalid_request", `Cannot cancel response ${JSON.stringify(id)}: ${state}`, "response_id");
}
