/** OpenAI's chat completions: its request, answer and chunks. Knows no HTTP and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import type { GenerationEvent, GenerationRequest, Message } from "../core/generation.ts";
import { PRIORITY } from "../core/priority.ts";
import {
  type AnswerHead,
  type AnswerWriter,
  bodySchema,
  chunkSchema,
  chunkWriter,
  finishReasonSchema,
  usageBody,
} from "./openai-answer.ts";
import { EXAMPLE_MODEL, optional, sharedParameters, strictObject, type Wishes, wishesOf } from "./openai-parameters.ts";
import { called, notYet } from "./violation.ts";

const role = Type.Union(
  [Type.Literal("system"), Type.Literal("developer"), Type.Literal("user"), Type.Literal("assistant")],
  { ...notYet("tool", "function"), description: "`developer` is the same as `system`." },
);

const textPart = strictObject(
  {
    type: Type.Literal("text", notYet("image_url", "input_audio", "file", "refusal")),
    text: Type.String(),
  },
  ["prompt_cache_breakpoint"],
);

const message = strictObject(
  {
    role,
    content: Type.Union([Type.String(), Type.Array(textPart, { minItems: 1, ...called("text parts") })]),
    refusal: Type.Optional(Type.Null()), // as our own answers carry it, so that one can be sent back
  },
  ["name", "audio", "tool_calls", "tool_call_id", "function_call"],
);

/** How OpenAI lets a request say how urgent it is. */
const TIERS = { auto: PRIORITY.normal, default: PRIORITY.normal, flex: PRIORITY.low, priority: PRIORITY.high } as const;

const serviceTier = Type.Union(
  [Type.Literal("auto"), Type.Literal("default"), Type.Literal("flex"), Type.Literal("priority")],
  { ...notYet("scale"), description: "Who goes first when requests wait: `priority`, then `default`, then `flex`." },
);

export const chatRequestSchema = strictObject(
  {
    messages: Type.Array(message, { minItems: 1, ...called("messages") }),
    service_tier: optional(serviceTier),
    ...sharedParameters,
  },
  [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "store",
    "tool_choice",
    "tools",
    "top_logprobs",
    "user",
    "verbosity",
    "web_search_options",
  ],
  { examples: [{ model: EXAMPLE_MODEL, messages: [{ role: "user", content: "What is the capital of France?" }] }] },
);

type ChatRequest = Static<typeof chatRequestSchema>;

export function readChat(body: ChatRequest, request_id: string): { generation: GenerationRequest; wishes: Wishes } {
  const wishes = wishesOf(body, null);
  const messages = body.messages.map(toMessage);
  const { sampling, tokens_max, stop } = wishes;
  const priority = TIERS[body.service_tier ?? "auto"];
  const prompt = { kind: "messages", messages } as const;
  return { generation: { request_id, model: body.model, prompt, sampling, tokens_max, stop, priority }, wishes };
}

/** The parts of one content are one text: nothing is put between them. */
function toMessage(message: ChatRequest["messages"][number]): Message {
  const { role, content } = message;
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map((part) => part.text).join(""),
  };
}

interface Delta {
  readonly role?: "assistant";
  readonly content?: string;
}

export function chatWriter(head: AnswerHead, include_usage: boolean): AnswerWriter {
  const write = chunkWriter<object>(head, "chat.completion.chunk", include_usage);
  const choice = (delta: Delta, finish_reason: string | null) =>
    write.choice({ index: 0, delta, logprobs: null, finish_reason });
  return {
    body: ({ text, reason, usage }) => ({
      ...head,
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: text, refusal: null },
          logprobs: null,
          finish_reason: reason,
        },
      ],
      usage: usageBody(usage),
    }),
    chunks: (event: GenerationEvent) => {
      switch (event.kind) {
        case "start":
          return [choice({ role: "assistant", content: "" }, null)];
        case "text":
          return [choice({ content: event.text }, null)];
        case "end":
          return [choice({}, event.reason), ...write.end(event.usage)];
      }
    },
  };
}

export const chatBodySchema = bodySchema(
  "chat.completion",
  Type.Object({
    index: Type.Integer(),
    message: Type.Object({ role: Type.Literal("assistant"), content: Type.String(), refusal: Type.Null() }),
    logprobs: Type.Null(),
    finish_reason: finishReasonSchema,
  }),
);

export const chatChunkSchema = chunkSchema(
  "chat.completion.chunk",
  Type.Object({
    index: Type.Integer(),
    delta: Type.Object({ role: Type.Optional(Type.Literal("assistant")), content: Type.Optional(Type.String()) }),
    logprobs: Type.Null(),
    finish_reason: Type.Union([finishReasonSchema, Type.Null()]),
  }),
);
