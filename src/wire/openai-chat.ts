/** OpenAI's chat completions: its request, answer and chunks. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { DrawnReport, GenerationEvent } from "../core/generation.ts";
import { PRIORITY } from "../core/priority.ts";
import {
  type AnswerChoice,
  type AnswerHead,
  type AnswerWriter,
  bodySchema,
  chunkSchema,
  chunkWriter,
  finishReasonSchema,
  usageBody,
} from "./openai-answer.ts";
import {
  type CallForm,
  CallWriter,
  callDeltaSchema,
  callSchema,
  soleCallDeltaSchema,
  soleCallSchema,
} from "./openai-chat-calls.ts";
import { endOf, endParameters } from "./openai-chat-end.ts";
import { responseFormat } from "./openai-constraint.ts";
import { functionParameters, functionWishesOf } from "./openai-functions.ts";
import { chatLogprobs, chatLogprobsSchema } from "./openai-logprobs.ts";
import { messageSchema, messagesOf } from "./openai-messages.ts";
import {
  type AskedAnswer,
  deliveryOf,
  EXAMPLE_MODEL,
  LOGPROBS_MAX,
  note,
  sharedParameters,
  wishesOf,
} from "./openai-parameters.ts";
import { RELATIVES_LATER, relativeParameters } from "./openai-relatives.ts";
import { budgetParameters, chatWishesOf, customNames, toolParameters } from "./openai-tools.ts";
import { parseReportSchema, reported } from "./parse-report.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

/** How OpenAI lets a request say how urgent it is. */
export const TIERS = {
  auto: PRIORITY.normal,
  default: PRIORITY.normal,
  flex: PRIORITY.low,
  priority: PRIORITY.high,
} as const;

export const serviceTier = Type.Union(
  [Type.Literal("auto"), Type.Literal("default"), Type.Literal("flex"), Type.Literal("priority")],
  { ...notYet("scale"), description: "Who goes first when requests wait: `priority`, then `default`, then `flex`." },
);

/**
 * What a caller says of itself and not of the answer: taken, as every server of this protocol does, and passed on to a provider.
 * Prefixes are shared by what they say, whatever key they are given.
 */
export const noteParameters = {
  safety_identifier: note("Who asks, for a provider that a request goes on to."),
  prompt_cache_key: note(
    "For a provider that a request goes on to; here every prompt finds what it shares with others.",
  ),
  prompt_cache_retention: optional(
    Type.Union([Type.Literal("in_memory"), Type.Literal("in-memory"), Type.Literal("24h")], {
      description: "For a provider that a request goes on to; here prompts are kept as long as there is room.",
    }),
  ),
};

const prediction = optional(
  strictObject(
    {
      type: Type.Literal("content"),
      content: Type.Union([
        Type.String(),
        Type.Array(strictObject({ type: Type.Literal("text"), text: Type.String() }, []), {
          minItems: 1,
          ...called("text parts"),
        }),
      ]),
    },
    [],
    { description: "What the answer is likely to be: it is no other for it, and comes sooner where it is." },
  ),
);

export const chatRequestSchema = strictObject(
  {
    messages: Type.Array(messageSchema, { minItems: 1, ...called("messages") }),
    service_tier: optional(serviceTier),
    ...sharedParameters,
    ...toolParameters,
    ...functionParameters,
    ...budgetParameters,
    ...relativeParameters,
    ...endParameters,
    ...noteParameters,
    metadata: optional(Type.Record(Type.String(), Type.String(), { description: "The caller's own notes; not kept." })),
    store: optional(Type.Boolean({ description: "Chats are never stored: `true` is refused." })),
    modalities: optional(
      Type.Array(Type.Literal("text", notYet("audio")), { minItems: 1, maxItems: 1, ...called("kinds") }),
    ),
    response_format: responseFormat,
    prediction,
    logprobs: optional(Type.Boolean({ description: "Tell how likely each token of the answer was." })),
    top_logprobs: optional(
      Type.Integer({ minimum: 0, maximum: LOGPROBS_MAX, description: "And so many of the likeliest in its place." }),
    ),
  },
  ["audio", "moderation", "prompt_cache_options", "web_search_options", ...RELATIVES_LATER],
  { examples: [{ model: EXAMPLE_MODEL, messages: [{ role: "user", content: "What is the capital of France?" }] }] },
);

type ChatRequest = Static<typeof chatRequestSchema>;

interface AskedChat extends AskedAnswer {
  readonly calls: CallForm;
}

export function readChat(body: ChatRequest, request_id: string): AskedChat {
  const prompt = { kind: "messages", messages: messagesOf(body.messages), ...endOf(body) } as const;
  refuseKept(body);
  const priority = TIERS[body.service_tier ?? "auto"];
  const own = { priority, keep_s: body.ttl ?? null, prediction: predictionOf(body) };
  const functions = functionWishesOf(body);
  const wishes = { ...wishesOf(body, null, logprobsOf(body)), ...chatWishesOf(body), ...functions, ...own };
  const calls = { custom: customNames(body), is_sole: functions !== null };
  return { generation: { request_id, model: body.model, prompt, ...wishes }, delivery: deliveryOf(body), calls };
}

/** Nothing of an answer is kept here, so that it could be asked for later. */
function refuseKept({ store }: ChatRequest): void {
  if (store) throw new Failure("unsupported", 'Cannot use "store": answers are not stored, expected false', "store");
}

function predictionOf({ prediction }: ChatRequest): string | null {
  if (!prediction) return null;
  const { content } = prediction;
  return typeof content === "string" ? content : content.map(({ text }) => text).join("");
}

function logprobsOf({ logprobs, top_logprobs }: ChatRequest): number | null {
  if (logprobs) return top_logprobs ?? 0;
  if (!top_logprobs) return null;
  throw new Failure("invalid_request", 'Cannot use "top_logprobs": it needs "logprobs": true', "top_logprobs");
}

export function chatWriter(head: AnswerHead, { generation, delivery, calls: form }: AskedChat): AnswerWriter {
  const calls = new CallWriter(form);
  const write = chunkWriter<object>(head, "chat.completion.chunk", delivery);
  const told = (tokens: readonly DrawnReport[]) => (generation.logprobs === null ? null : chatLogprobs(tokens));
  const choice = (index: number, delta: object) => write.choice({ index, delta, logprobs: null, finish_reason: null });
  return {
    body: ({ choices, usage }) => ({
      ...head,
      object: "chat.completion",
      choices: choices.map((each, index) => ({
        index,
        message: messageBody(each, calls),
        logprobs: told(each.tokens),
        finish_reason: calls.reason(each.reason),
        ...reported(each.reports),
      })),
      usage: usageBody(usage),
    }),
    chunks: (event: GenerationEvent) => {
      switch (event.kind) {
        case "start":
          return Array.from({ length: generation.choices }, (_, index) =>
            choice(index, { role: "assistant", content: "" }),
          );
        case "text": {
          const { choice: index, text, tokens } = event;
          return [write.choice({ index, delta: { content: text }, logprobs: told(tokens), finish_reason: null })];
        }
        case "reasoning":
          return [choice(event.choice, { reasoning_content: event.text })];
        case "call":
          return calls.begin(event).map((delta) => choice(event.choice, delta));
        case "arguments":
          return calls.more(event).map((delta) => choice(event.choice, delta));
        case "finish": {
          const rest = calls.end(event.choice).map((delta) => choice(event.choice, delta));
          const { choice: index, reports } = event;
          const finish_reason = calls.reason(event.reason);
          return [...rest, write.choice({ index, delta: {}, logprobs: null, finish_reason, ...reported(reports) })];
        }
        case "end":
          return write.end(event.usage);
      }
    },
  };
}

function messageBody({ text, reasoning, tool_calls }: AnswerChoice, calls: CallWriter) {
  return {
    role: "assistant",
    content: text === "" && tool_calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...calls.whole(tool_calls),
  };
}

const chatFinishSchema = Type.Union([finishReasonSchema, Type.Literal("tool_calls"), Type.Literal("function_call")]);
const reasoningSchema = Type.Optional(Type.String({ description: "What the model thought before it answered." }));

export const chatBodySchema = bodySchema(
  "chat.completion",
  Type.Object({
    index: Type.Integer(),
    message: Type.Object({
      role: Type.Literal("assistant"),
      content: Type.Union([Type.String(), Type.Null()]),
      refusal: Type.Null(),
      reasoning_content: reasoningSchema,
      tool_calls: Type.Optional(Type.Array(callSchema)),
      function_call: Type.Optional(soleCallSchema),
    }),
    logprobs: chatLogprobsSchema,
    finish_reason: chatFinishSchema,
    parse_report: parseReportSchema,
  }),
);

export const chatChunkSchema = chunkSchema(
  "chat.completion.chunk",
  Type.Object({
    index: Type.Integer(),
    delta: Type.Object({
      role: Type.Optional(Type.Literal("assistant")),
      content: Type.Optional(Type.String()),
      reasoning_content: reasoningSchema,
      tool_calls: Type.Optional(Type.Array(callDeltaSchema)),
      function_call: Type.Optional(soleCallDeltaSchema),
    }),
    logprobs: chatLogprobsSchema,
    finish_reason: Type.Union([chatFinishSchema, Type.Null()]),
    parse_report: parseReportSchema,
  }),
);
