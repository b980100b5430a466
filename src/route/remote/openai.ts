/** Speaks OpenAI's protocol to a provider. Knows no HTTP. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import type { CountedUsage } from "../../core/exchange.ts";
import type { ChatEnd, FinishReason, GenerationEvent, GenerationRequest, Message } from "../../core/generation.ts";
import { checkedWhenUsed } from "./checked-when-used.ts";
import type { Dialect, EventReader } from "./dialect.ts";
import { counted, readEvent } from "./event-json.ts";
import { type Piece, piecesOf } from "./seen-words.ts";
import { spokenSampling, unspoken } from "./spoken-wishes.ts";
import { faltering } from "./upstream-failure.ts";
import { usageIn } from "./usage.ts";

/** The last three are no parameters of OpenAI's own, but of most who speak its protocol; it refuses them itself. */
const SPOKEN = [
  "temperature",
  "top_p",
  "seed",
  "frequency_penalty",
  "presence_penalty",
  "top_k",
  "min_p",
  "repetition_penalty",
] as const;

export const openaiDialect: Dialect = {
  paths: {
    chat: "/chat/completions",
    completions: "/completions",
    responses: "/responses",
    input_tokens: "/responses/input_tokens",
    embeddings: "/embeddings",
    rerank: "/rerank",
    score: "/score",
  },
  headers: (key): Readonly<Record<string, string>> => (key === null ? {} : { authorization: `Bearer ${key}` }),
  write(request, model) {
    const shared = {
      model,
      stream: true,
      stream_options: { include_usage: true },
      ...spokenSampling(request, SPOKEN),
      ...(request.tokens_max === null ? {} : { max_tokens: request.tokens_max }),
      ...(request.stop.length === 0 ? {} : { stop: request.stop }),
      ...toolsOf(request),
      ...effortOf(request),
    };
    return { path: pathOf(request), body: { ...shared, ...promptOf(request) } };
  },
  reader: () => new OpenaiReader(),
};

function pathOf({ prompt }: GenerationRequest): string {
  return prompt.kind === "messages" ? "/chat/completions" : "/completions";
}

function promptOf({ prompt }: GenerationRequest): object {
  switch (prompt.kind) {
    case "messages":
      return { messages: prompt.messages.map(spoken), ...endOf(prompt) };
    case "text":
      return { prompt: prompt.text };
    case "fill":
      return { prompt: prompt.before, suffix: prompt.behind };
    case "tokens":
      return { prompt: prompt.token_ids };
    case "continued":
      throw unspoken("context", "its tokens are those of a model of this machine");
  }
}

/** No parameters of OpenAI's own, but of vLLM and others; it refuses them itself. */
function endOf({ ends = "answer" }: { readonly ends?: ChatEnd }): object {
  if (ends === "answer") return {};
  return { add_generation_prompt: false, ...(ends === "begun" ? { continue_final_message: true } : {}) };
}

/** Thoughts by the name that most who think have given them; OpenAI itself tells none, so it is sent none. */
function spoken(message: Message): object {
  if (message.role === "user" && message.images !== undefined) {
    const { role, name } = message;
    return { role, content: piecesOf(message).map(partOf), ...(name === undefined ? {} : { name }) };
  }
  if (message.role === "tool" && message.images !== undefined) {
    throw unspoken("messages", "its results of tools are words and no images");
  }
  if (message.role !== "assistant") return message;
  const { role, content, reasoning, tool_calls, name: speaker } = message;
  const calls = tool_calls.map(({ id, name, arguments: json }) => {
    return { id, type: "function", function: { name, arguments: json } };
  });
  return {
    role,
    content: content === "" && calls.length > 0 ? null : content,
    ...(speaker === undefined ? {} : { name: speaker }),
    ...(reasoning === null ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

function partOf(piece: Piece): object {
  if (piece.kind === "text") return { type: "text", text: piece.text };
  const { source, detail } = piece;
  const url = source.kind === "url" ? source.url : `data:${source.media_type};base64,${source.base64}`;
  return { type: "image_url", image_url: { url, ...(detail === undefined ? {} : { detail }) } };
}

function toolsOf({ tools, tool_choice, parallel_tool_calls }: GenerationRequest): object {
  if (tools.length === 0) return {};
  const named = tool_choice.kind === "named";
  return {
    tools: tools.map(({ name, description, parameters, strict }) => ({
      type: "function",
      function: { name, parameters, ...(description === null ? {} : { description }), ...(strict ? { strict } : {}) },
    })),
    tool_choice: named ? { type: "function", function: { name: tool_choice.name } } : tool_choice.kind,
    ...(parallel_tool_calls ? {} : { parallel_tool_calls }),
  };
}

/** A length of thought that comes with an effort is that effort's measure; alone it cannot be said. */
function effortOf({ reasoning: { effort, tokens_max } }: GenerationRequest): object {
  if (effort !== null) return { reasoning_effort: effort };
  if (tokens_max !== null) throw unspoken("reasoning", "it has no limit for a thought");
  return {};
}

const text = maybe(Type.String());
const callPart = Type.Object({
  index: Type.Optional(Type.Integer()),
  id: text,
  function: maybe(Type.Object({ name: text, arguments: text })),
});
const choice = Type.Object({
  text,
  delta: Type.Optional(
    Type.Object({ content: text, reasoning_content: text, reasoning: text, tool_calls: maybe(Type.Array(callPart)) }),
  ),
  finish_reason: text,
  stop_reason: maybe(Type.Union([Type.String(), Type.Integer()])),
});
const chunk = checkedWhenUsed(Type.Object({ choices: Type.Array(choice) }));

function maybe<Schema extends TSchema>(schema: Schema) {
  return Type.Optional(Type.Union([schema, Type.Null()]));
}

class OpenaiReader implements EventReader {
  #started = false;
  #reason: FinishReason | null = null;
  #stop_text: string | null = null;
  #calls = 0;
  #usage: CountedUsage | null = null;

  read(data: string): readonly GenerationEvent[] {
    if (data === "[DONE]") return [];
    const value = readEvent(data, chunk);
    this.#usage = usageIn(value, this.#usage);
    const [choice] = value.choices;
    const events: GenerationEvent[] = [];
    if (!this.#started) events.push({ kind: "start", prompt_tokens: this.#usage?.prompt_tokens ?? 0 });
    this.#started = true;
    if (choice === undefined) return events;
    const { delta, finish_reason, stop_reason } = choice;
    const thought = delta?.reasoning_content ?? delta?.reasoning ?? "";
    if (thought !== "") events.push({ kind: "reasoning", choice: 0, text: thought });
    const said = delta?.content ?? choice.text ?? "";
    if (said !== "") events.push({ kind: "text", choice: 0, text: said, tokens: [] });
    for (const part of delta?.tool_calls ?? []) events.push(...this.#call(part));
    if (finish_reason) this.#reason = reasonOf(finish_reason, this.#calls);
    if (typeof stop_reason === "string") this.#stop_text = stop_reason; // vLLM's word for it; OpenAI tells nothing
    return events;
  }

  /** The piece that names a call begins it. */
  #call({ id, function: called }: Static<typeof callPart>): GenerationEvent[] {
    const events: GenerationEvent[] = [];
    const name = called?.name ?? "";
    if (name !== "") {
      const index = this.#calls++;
      events.push({ kind: "call", choice: 0, index, id: id ?? `call_${index}`, name });
    }
    const json = called?.arguments ?? "";
    if (json !== "") events.push({ kind: "arguments", choice: 0, index: this.#calls - 1, text: json });
    return events;
  }

  end(): readonly GenerationEvent[] {
    if (this.#reason === null) throw faltering("upstream", "Cannot read the provider: its stream ended early");
    return [
      { kind: "finish", choice: 0, reason: this.#reason, stop_text: this.#stop_text },
      { kind: "end", usage: counted(this.#usage) },
    ];
  }
}

/** Some say of an answer with calls that it has stopped. */
function reasonOf(finish_reason: string, calls: number): FinishReason {
  if (finish_reason === "length") return "length";
  return calls > 0 ? "tool_calls" : "stop";
}
