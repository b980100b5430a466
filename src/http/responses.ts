/** `POST /v1/responses`, and what is kept of them: `GET`, `DELETE /v1/responses/{id}`, its items, `…/cancel`. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Failure } from "../core/failure.ts";
import type { KeptResponse, ResponseShelf } from "../core/responses.ts";
import {
  cutShort,
  outputItemSchema,
  ResponseWriter,
  responseEventSchema,
  responseSchema,
} from "../wire/openai-response-answer.ts";
import { itemPage, itemPageSchema, readItemQuery } from "../wire/openai-response-list.ts";
import {
  inputItems,
  inputTokensRequestSchema,
  isQueued,
  isWhole,
  readInputTokens,
  readResponse,
  responseId,
  responseRequestSchema,
} from "../wire/openai-responses.ts";
import { BackgroundAnswers } from "./background.ts";
import { noBody } from "./body.ts";
import { openDoor } from "./door.ts";
import { type Begin, GENERATION_PROBLEMS, namedEvent } from "./generation.ts";
import { OPENAI } from "./openai-door.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

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
  show: describe(TAG, "Show an answer that is kept", whole, [400, 403, 404]),
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

export function responseRoutes(parts: RouteParts) {
  const { responses } = parts;
  const running = new BackgroundAnswers();
  const show = (id: string) => {
    const response = found(responses, id);
    return isQueued(response) && !running.has(id) ? cutShort(response.body) : response.body;
  };
  const door = { ...OPENAI, framing: FRAMING, isWhole: (body: unknown) => isWhole(body, responses) };
  const create = openDoor(parts, {
    ...door,
    endpoint: "responses",
    schema: responseRequestSchema,
    read: (body, request_id) => {
      const asked = readResponse(body, request_id, responses);
      const writer = new ResponseWriter(asked, { now: parts.now, keep: (response) => responses.save(response) });
      const stream = body.stream ?? false;
      const generation = { kind: "generation", generations: [asked.generation], stream, writer } as const;
      if (!body.background) return generation;
      const background: Begin = (answer, cancel) => {
        const told = writer.queued();
        const report = (error: unknown) => parts.reportBug(error, request_id);
        const run = async () =>
          void (await answer()
            .catch((error: unknown) => writer.broken(error))
            .catch(report));
        running.begin(responseId(asked.mark), run, cancel);
        return told;
      };
      return { ...generation, background };
    },
  });
  const count = openDoor(parts, {
    ...door,
    endpoint: "input_tokens",
    schema: inputTokensRequestSchema,
    read: (body, request_id) => {
      const request = readInputTokens(body, request_id, responses);
      return { kind: "count", request, body: (input_tokens) => ({ object: "response.input_tokens", input_tokens }) };
    },
  });
  return new Elysia({ normalize: false })
    .post("/v1/responses", async ({ request }) => await create(request), { parse: "none", detail: details.create })
    .post("/v1/responses/input_tokens", async ({ request }) => await count(request), {
      parse: "none",
      detail: details.count,
    })
    .get("/v1/responses/:id", async ({ params }) => show(params.id), { detail: details.show })
    .get(
      "/v1/responses/:id/input_items",
      async ({ params, request }) => {
        const query = readItemQuery(new URL(request.url).searchParams);
        found(responses, params.id);
        return itemPage(inputItems(params.id, responses), query);
      },
      { detail: details.items },
    )
    .post(
      "/v1/responses/:id/cancel",
      async ({ params }) => {
        refuseWaited(found(responses, params.id));
        await running.cancel(params.id);
        return show(params.id);
      },
      { parse: async ({ request }) => noBody(request), detail: details.cancel },
    )
    .delete(
      "/v1/responses/:id",
      async ({ params }) => {
        const { id } = found(responses, params.id);
        await running.cancel(id);
        responses.remove(id);
        return { id, object: "response", deleted: true };
      },
      { detail: details.remove },
    );
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
