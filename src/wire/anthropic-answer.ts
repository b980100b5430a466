/** Anthropic's messages: their answer, whole and as events. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import { assert } from "../core/assert.ts";
import type { GenerationEvent, GenerationRequest, ToolCall, Usage } from "../core/generation.ts";
import type { AskedMessage } from "./anthropic-messages.ts";
import { signatureOf } from "./anthropic-signature.ts";
import type { Answer, AnswerChoice, AnswerWriter } from "./openai-answer.ts";
import { parseReportSchema, reported } from "./parse-report.ts";

/** While nothing has come yet: who reads knows then that somebody is there. */
export const PING = { type: "ping" };

export class MessageWriter implements AnswerWriter {
  readonly #request: GenerationRequest;
  readonly #thoughts_shown: boolean;
  #blocks = 0;
  #open: "text" | "thinking" | "tool_use" | null = null;
  #thought = "";
  #finish: Finish | null = null;

  constructor({ generation, thoughts_shown }: AskedMessage) {
    this.#request = generation;
    this.#thoughts_shown = thoughts_shown;
  }

  body({ choices, usage }: Answer): object {
    const [choice] = choices;
    assert(choice !== undefined, "an answer has a choice");
    const ending = endingOf(choice, usage, this.#request);
    const content = contentOf(choice, this.#thoughts_shown);
    return { ...this.#head(content), ...ending, usage: usageBody(usage), ...reported(choice.reports) };
  }

  chunks(event: GenerationEvent): readonly object[] {
    switch (event.kind) {
      case "start": {
        const message = { ...this.#head([]), ...NO_ENDING, usage: usageAtStart(event.prompt_tokens) };
        return [{ type: "message_start", message }];
      }
      case "text":
        return event.text === "" ? [] : [...this.#in("text"), this.#delta({ type: "text_delta", text: event.text })];
      case "reasoning":
        return this.#think(event.text);
      case "call":
        return [...this.#close(), this.#start("tool_use", toolUse(event.id, event.name, {}))];
      case "arguments":
        return [this.#delta({ type: "input_json_delta", partial_json: event.text })];
      case "finish":
        this.#finish = event;
        return this.#close();
      case "end":
        return this.#end(event.usage);
    }
  }

  /** The id of the answer repeats the hex of the request's, so that one finds the other. */
  #head(content: readonly object[]) {
    const { request_id, model } = this.#request;
    const id = `msg_${request_id.replace(/^req_/, "")}`;
    return { id, type: "message", role: "assistant", model, content, ...UNSAID };
  }

  #think(text: string): object[] {
    const events = this.#in("thinking");
    this.#thought += text;
    return this.#thoughts_shown ? [...events, this.#delta({ type: "thinking_delta", thinking: text })] : events;
  }

  #in(type: "text" | "thinking"): object[] {
    if (this.#open === type) return [];
    const block = type === "text" ? textBlock("") : { type, thinking: "", signature: "" };
    return [...this.#close(), this.#start(type, block)];
  }

  #start(type: "text" | "thinking" | "tool_use", content_block: object): object {
    this.#open = type;
    return { type: "content_block_start", index: this.#blocks, content_block };
  }

  #delta(delta: object): object {
    return { type: "content_block_delta", index: this.#blocks, delta };
  }

  #close(): object[] {
    if (this.#open === null) return [];
    const signature = signatureOf(this.#thought);
    const signed = this.#open === "thinking" ? [this.#delta({ type: "signature_delta", signature })] : [];
    const stop = { type: "content_block_stop", index: this.#blocks };
    this.#open = null;
    this.#thought = "";
    this.#blocks++;
    return [...signed, stop];
  }

  #end(usage: Usage): object[] {
    assert(this.#finish !== null, "a choice finishes before its answer ends");
    const ending = endingOf(this.#finish, usage, this.#request);
    const delta = { ...ending, container: null, ...reported(this.#finish.reports) };
    return [{ type: "message_delta", delta, usage: usageBody(usage) }, { type: "message_stop" }];
  }
}

type Finish = Pick<AnswerChoice, "reason" | "stop_text"> & Partial<Pick<AnswerChoice, "reports">>;

/** What every answer of the protocol has, and nothing here has anything of. */
const UNSAID = { container: null, diagnostics: null };

const NO_ENDING = { stop_reason: null, stop_sequence: null, stop_details: null };

function endingOf({ reason, stop_text }: Finish, { completion_tokens }: Usage, { tokens_max }: GenerationRequest) {
  if (stop_text !== null) return { ...NO_ENDING, stop_reason: "stop_sequence", stop_sequence: stop_text };
  switch (reason) {
    case "stop":
      return { ...NO_ENDING, stop_reason: "end_turn" };
    case "tool_calls":
      return { ...NO_ENDING, stop_reason: "tool_use" };
    case "length": {
      const is_full = tokens_max !== null && completion_tokens < tokens_max;
      return { ...NO_ENDING, stop_reason: is_full ? "model_context_window_exceeded" : "max_tokens" };
    }
  }
}

/** How much of the prompt is cached is told when it is known, at the end. */
function usageAtStart(prompt_tokens: number) {
  return {
    input_tokens: prompt_tokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: null,
    output_tokens: 0,
    output_tokens_details: null,
    ...OF_NO_PROVIDER,
  };
}

/** Nothing is counted apart for having been put into the cache: that is where every prompt goes. */
function usageBody({ prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens }: Usage) {
  return {
    input_tokens: prompt_tokens - cached_tokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached_tokens,
    output_tokens: completion_tokens,
    output_tokens_details: reasoning_tokens === null ? null : { thinking_tokens: reasoning_tokens },
    ...OF_NO_PROVIDER,
  };
}

const SERVICE_TIER = "standard";
const OF_NO_PROVIDER = {
  cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
  inference_geo: null,
  server_tool_use: null,
  service_tier: SERVICE_TIER,
  speed: SERVICE_TIER,
};

function contentOf({ text, reasoning, tool_calls }: AnswerChoice, thoughts_shown: boolean): object[] {
  const signature = signatureOf(reasoning);
  const thought = { type: "thinking", thinking: thoughts_shown ? reasoning : "", signature };
  return [
    ...(reasoning === "" ? [] : [thought]),
    ...(text === "" ? [] : [textBlock(text)]),
    ...tool_calls.flatMap(callBlock),
  ];
}

/** A call that was cut has no input; whoever ran it with less than the model meant would do harm. */
function callBlock({ id, name, arguments: json }: ToolCall): object[] {
  try {
    return [toolUse(id, name, JSON.parse(json === "" ? "{}" : json))];
  } catch {
    return [];
  }
}

function textBlock(text: string) {
  return { type: "text", text, citations: null };
}

function toolUse(id: string, name: string, input: object) {
  return { type: "tool_use", id, name, input, caller: { type: "direct" } };
}

const usageSchema = Type.Object({
  input_tokens: Type.Integer({ description: "Prompt tokens that were computed." }),
  cache_creation_input_tokens: Type.Integer(),
  cache_read_input_tokens: Type.Union([Type.Integer(), Type.Null()], {
    description: "Prompt tokens that needed not be computed.",
  }),
  output_tokens: Type.Integer(),
  output_tokens_details: Type.Union([Type.Object({ thinking_tokens: Type.Integer() }), Type.Null()]),
  cache_creation: Type.Object({ ephemeral_5m_input_tokens: Type.Integer(), ephemeral_1h_input_tokens: Type.Integer() }),
  inference_geo: Type.Null(),
  server_tool_use: Type.Null(),
  service_tier: Type.Literal(SERVICE_TIER),
  speed: Type.Literal(SERVICE_TIER),
});

const textSchema = Type.Object({ type: Type.Literal("text"), text: Type.String(), citations: Type.Null() });
const thinkingSchema = Type.Object({
  type: Type.Literal("thinking"),
  thinking: Type.String(),
  signature: Type.String(),
});
const toolUseSchema = Type.Object({
  type: Type.Literal("tool_use"),
  id: Type.String(),
  name: Type.String(),
  input: Type.Object({}),
  caller: Type.Object({ type: Type.Literal("direct") }),
});

export const messageSchema = Type.Object({
  id: Type.String(),
  type: Type.Literal("message"),
  role: Type.Literal("assistant"),
  model: Type.String(),
  content: Type.Array(Type.Union([textSchema, thinkingSchema, toolUseSchema])),
  stop_reason: Type.Union([
    Type.Literal("end_turn"),
    Type.Literal("max_tokens"),
    Type.Literal("stop_sequence"),
    Type.Literal("tool_use"),
    Type.Literal("model_context_window_exceeded"),
    Type.Null(),
  ]),
  stop_sequence: Type.Union([Type.String(), Type.Null()]),
  stop_details: Type.Null(),
  container: Type.Null(),
  diagnostics: Type.Null(),
  usage: usageSchema,
  parse_report: parseReportSchema,
});

/** An event; the others are named in Anthropic's documentation. */
export const messageEventSchema = Type.Object({
  type: Type.Union(
    [
      "message_start",
      "content_block_start",
      "content_block_delta",
      "content_block_stop",
      "message_delta",
      "message_stop",
      "ping",
      "error",
    ].map((name) => Type.Literal(name)),
  ),
});

export const countSchema = Type.Object({ input_tokens: Type.Integer() });
