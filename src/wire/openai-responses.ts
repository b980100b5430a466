/** OpenAI's responses: their request, and the talk that it goes on with. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import { type GenerationRequest, PLAIN_ANSWER } from "../core/generation.ts";
import type { Constraint } from "../core/grammar.ts";
import type { KeptResponse, ResponseShelf } from "../core/responses.ts";
import { noteParameters, serviceTier, TIERS } from "./openai-chat.ts";
import { ANY_OBJECT, formDescription, jsonSchema, schemaName } from "./openai-constraint.ts";
import { includeObfuscation } from "./openai-obfuscation.ts";
import { EXAMPLE_MODEL, LOGPROBS_MAX, user } from "./openai-parameters.ts";
import { type Item, inputSchema, itemsOf, listed } from "./openai-response-items.ts";
import { talkOf } from "./openai-response-talk.ts";
import { responseTools, toolWishesOf } from "./openai-response-tools.ts";
import { samplingOf, samplingParameters } from "./openai-sampling.ts";
import { effort, templateOptions } from "./openai-tools.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

/** A request as its route reads it. */
export interface AskedResponse {
  readonly generation: GenerationRequest;
  readonly wishes: ResponseRequest;
  /** Part of all ids of the answer, so that one finds the others and the request. */
  readonly mark: string;
  /** Of this request alone, as it is listed. */
  readonly input: readonly Item[];
  readonly is_kept: boolean;
}

const format = Type.Union(
  [
    strictObject({ type: Type.Literal("text") }, []),
    strictObject({ type: Type.Literal("json_object") }, []),
    strictObject(
      {
        type: Type.Literal("json_schema"),
        name: schemaName,
        schema: jsonSchema,
        strict: optional(Type.Boolean({ description: "A schema is always enforced; `false` asks for no less." })),
        description: formDescription,
      },
      [],
    ),
  ],
  { description: "The form of the answer. It always is of that form unless it was cut at its most tokens." },
);

const reasoning = strictObject(
  {
    effort: optional(effort),
    summary: optional(
      Type.Union([Type.Literal("auto"), Type.Literal("detailed")], {
        ...notYet("concise"),
        description: "The thought is told as its own summary, whole, and not as `reasoning_text`.",
      }),
    ),
  },
  ["context", "generate_summary", "mode"],
);

const LOGPROBS = "message.output_text.logprobs";
const ENCRYPTED = "reasoning.encrypted_content";

/** OpenAI's own limits. */
const METADATA_MAX = 16;
const METADATA_KEY_MAX = 64;
const METADATA_VALUE_MAX = 512;

const codexNote = optional(Type.String({ description: "Codex's own; not kept." }));

/** What Codex says of itself beside what OpenAI has published: nothing of the answer. */
const codexNotes = {
  client_metadata: optional(Type.Record(Type.String(), Type.Unknown(), { description: "Codex's own; not kept." })),
  session_id: codexNote,
  thread_id: codexNote,
  turn_id: codexNote,
  root_turn_id: codexNote,
  "x-codex-window-id": codexNote,
};

/** What was said. */
export const talkParameters = {
  model: Type.String({ minLength: 1, description: "The name of a model, as `GET /v1/models` lists it." }),
  input: Type.Optional(inputSchema),
  instructions: optional(
    Type.String({ description: "Goes before the talk; not carried on by `previous_response_id`." }),
  ),
  previous_response_id: optional(Type.String({ minLength: 1, description: "The answer that the talk goes on from." })),
};

/** What decides of how many tokens a prompt is. */
const promptParameters = {
  ...talkParameters,
  ...responseTools,
  reasoning: optional(reasoning),
  text: optional(
    strictObject(
      { format: Type.Optional(format), verbosity: optional(Type.Literal("medium", notYet("low", "high"))) },
      [],
    ),
  ),
  truncation: optional(
    Type.Union([Type.Literal("auto"), Type.Literal("disabled")], {
      description: "`auto`: of a talk that does not fit the model, the oldest turns are left out until it does.",
    }),
  ),
  chat_template_kwargs: optional(templateOptions),
};

const LATER = [
  "context_management",
  "conversation",
  "max_tool_calls",
  "moderation",
  "prompt",
  "prompt_cache_options",
  "prompt_cache_retention",
];

export const inputTokensRequestSchema = strictObject(promptParameters, LATER);

export const responseRequestSchema = strictObject(
  {
    ...promptParameters,
    ...samplingParameters,
    max_output_tokens: optional(Type.Integer({ minimum: 1, description: "The most tokens to generate." })),
    include: optional(
      Type.Array(
        Type.Union([Type.Literal(LOGPROBS), Type.Literal(ENCRYPTED)], {
          ...notYet(
            "code_interpreter_call.outputs",
            "computer_call_output.output.image_url",
            "file_search_call.results",
            "message.input_image.image_url",
            "web_search_call.action.sources",
            "web_search_call.results",
          ),
        }),
        { ...called("names"), description: "What else the answer tells." },
      ),
    ),
    top_logprobs: optional(
      Type.Integer({
        minimum: 0,
        maximum: LOGPROBS_MAX,
        description: "So many of the likeliest tokens in each place.",
      }),
    ),
    service_tier: optional(serviceTier),
    store: optional(Type.Boolean({ description: "Whether the answer is kept, so that a talk may go on from it." })),
    background: optional(
      Type.Boolean({
        description: "It runs on when its caller leaves: it is to be asked for, or its stream gone on with, by its id.",
      }),
    ),
    stream: optional(Type.Boolean({ description: "Send the answer piece by piece, as server-sent events." })),
    stream_options: optional(strictObject({ include_obfuscation: includeObfuscation }, [])),
    metadata: optional(
      Type.Record(Type.String({ maxLength: METADATA_KEY_MAX }), Type.String({ maxLength: METADATA_VALUE_MAX }), {
        maxProperties: METADATA_MAX,
        description: "The caller's own notes, told with the answer.",
      }),
    ),
    user,
    ...noteParameters,
    ...codexNotes,
  },
  LATER,
  { examples: [{ model: EXAMPLE_MODEL, input: "What is the capital of France?" }] },
);

export type ResponseRequest = Static<typeof responseRequestSchema>;
type InputTokensRequest = Static<typeof inputTokensRequestSchema>;

export function readResponse(body: ResponseRequest, request_id: string, shelf: ResponseShelf): AskedResponse {
  refuseLost(body, shelf);
  refuseUnstreamed(body);
  const mark = markOf(request_id);
  const { prompt, input } = readTalk(body, request_id, shelf);
  const generation = {
    ...prompt,
    sampling: samplingOf(body),
    tokens_max: body.max_output_tokens ?? null,
    logprobs: logprobsOf(body),
    priority: TIERS[body.service_tier ?? "auto"],
  };
  return { generation, wishes: body, mark, input, is_kept: keeps(body, shelf) };
}

export function readInputTokens(body: InputTokensRequest, request_id: string, shelf: ResponseShelf): GenerationRequest {
  return readTalk(body, request_id, shelf).prompt;
}

function refuseUnstreamed({ stream, stream_options }: ResponseRequest): void {
  if (stream || !stream_options?.include_obfuscation) return;
  throw new Failure("invalid_request", 'Cannot use "stream_options": it needs "stream": true', "stream_options");
}

/** An answer that nobody waits for has to be found later. */
function refuseLost(body: ResponseRequest, shelf: ResponseShelf): void {
  if (!body.background || keeps(body, shelf)) return;
  throw new Failure("unsupported", 'Cannot use "background": the answer would not be kept', "background");
}

/** Whether a request says all that it asks; otherwise some of it is kept here, and another server could not know it. */
export function isWhole(body: unknown, shelf: ResponseShelf): boolean {
  const { previous_response_id: previous, input, background }: Partial<Record<string, unknown>> = Object(body);
  // Whoever answers in the background has to be asked again, and only what is kept here can be.
  if (background === true) return false;
  if (typeof previous === "string" && shelf.find(previous) !== null) return false;
  if (!Array.isArray(input)) return true;
  const isKept = ({ type, id }: { type?: unknown; id?: unknown }) =>
    type === "item_reference" && typeof id === "string" && keptItem(id, shelf) !== null;
  return !input.some((item) => isKept(Object(item)));
}

/** The items that an answer was given to, the first of the talk first. */
export function inputItems(id: string, shelf: ResponseShelf): readonly Item[] {
  const talk = shelf.talk(id, "response_id");
  const last = talk.at(-1);
  return [...talk.slice(0, -1).flatMap(turnItems), ...itemsOf(last?.input ?? [])];
}

interface ReadTalk {
  readonly prompt: GenerationRequest;
  /** Of the request alone. */
  readonly input: readonly Item[];
  /** Of the whole talk. */
  readonly items: readonly Item[];
}

export function readTalk(body: InputTokensRequest, request_id: string, shelf: ResponseShelf): ReadTalk {
  const { previous_response_id, instructions } = body;
  const before = previous_response_id ? talkBefore(previous_response_id, shelf) : [];
  const input = listed(body.input ?? [], `${markOf(request_id)}_i`, (id) => keptItem(id, shelf));
  const placeOf = (index: number) => (index < before.length ? null : `input[${index - before.length}]`);
  const items = [...before, ...input];
  const messages = talkOf(instructions ?? "", items, placeOf);
  if (messages.length === 0) {
    throw new Failure(
      "invalid_request",
      'Cannot use "input": there is nothing to answer, expected a text or items',
      "input",
    );
  }
  const prompt = {
    ...PLAIN_ANSWER,
    request_id,
    model: body.model,
    prompt: { kind: "messages", messages } as const,
    constraint: constraintOf(body),
    ...toolWishesOf(body),
    reasoning: { effort: body.reasoning?.effort ?? null, tokens_max: null },
    template_options: body.chat_template_kwargs ?? {},
    truncation: body.truncation ?? "disabled",
  };
  return { prompt, input, items };
}

function talkBefore(id: string, shelf: ResponseShelf): readonly Item[] {
  const parameter = "previous_response_id";
  const talk = shelf.talk(id, parameter);
  const last = talk.at(-1);
  if (last === undefined || !isQueued(last)) return talk.flatMap(turnItems);
  throw new Failure("invalid_request", `Cannot go on from response "${id}": it has not ended`, parameter);
}

export function isQueued({ body }: KeptResponse): boolean {
  return Reflect.get(body, "status") === "queued";
}

function turnItems({ input, body }: KeptResponse): readonly Item[] {
  const output: unknown = Reflect.get(body, "output");
  return [...itemsOf(input), ...itemsOf(Array.isArray(output) ? output : [])];
}

/** An item's id holds the mark of the request that it belongs to. */
function keptItem(id: string, shelf: ResponseShelf): Item | null {
  const [, mark = ""] = id.split("_");
  const response = shelf.find(responseId(mark));
  return response === null ? null : (turnItems(response).find((item) => item.id === id) ?? null);
}

export function markOf(request_id: string): string {
  return request_id.replace(/^req_/, "");
}

export function responseId(mark: string): string {
  return `resp_${mark}`;
}

/** The request that a response is of. */
export function requestOf(response_id: string): string {
  return response_id.replace(/^resp_/, "req_");
}

function keeps({ store }: ResponseRequest, shelf: ResponseShelf): boolean {
  if (store && !shelf.is_open) {
    const state = "this server's owner keeps no answers, expected false";
    throw new Failure("unsupported", `Cannot use "store": ${state}`, "store");
  }
  return store ?? shelf.is_open;
}

function logprobsOf({ include, top_logprobs }: ResponseRequest): number | null {
  if (include?.includes(LOGPROBS)) return top_logprobs ?? 0;
  if (!top_logprobs) return null;
  const state = `it needs ${JSON.stringify(LOGPROBS)} in "include"`;
  throw new Failure("invalid_request", `Cannot use "top_logprobs": ${state}`, "top_logprobs");
}

export function tellsHidden({ include }: ResponseRequest): boolean {
  return include?.includes(ENCRYPTED) ?? false;
}

function constraintOf({ text }: InputTokensRequest): Constraint | null {
  switch (text?.format?.type) {
    case "json_object":
      return { kind: "json_schema", parameter: "text.format", schema: ANY_OBJECT };
    case "json_schema":
      return { kind: "json_schema", parameter: "text.format.schema", schema: text.format.schema };
    default:
      return null;
  }
}
