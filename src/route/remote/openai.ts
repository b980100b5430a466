/** Speaks OpenAI's protocol to a provider. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { CountedUsage } from "../../core/exchange.ts";
import type { FinishReason, GenerationEvent, GenerationRequest, Message } from "../../core/generation.ts";
import type { Dialect, EventReader } from "./dialect.ts";
import { counted, readEvent } from "./event-json.ts";
import { spokenSampling } from "./spoken-wishes.ts";
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
      return { messages: prompt.messages.map(messageOf) };
    case "text":
      return { prompt: prompt.text };
    case "tokens":
      return { prompt: prompt.token_ids };
  }
}

function messageOf(message: Message): object {
  if (message.role !== "assistant") return message;
  const { role, content, reasoning, tool_calls } = message;
  const calls = tool_calls.map(({ id, name, arguments: json }) => {
    return { id, type: "function", function: { name, arguments: json } };
  });
  return {
    role,
    content,
    ...(reasoning === null ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

const text = Type.Optional(Type.Union([Type.String(), Type.Null()]));
const choice = Type.Object({
  text,
  delta: Type.Optional(Type.Object({ content: text })),
  finish_reason: text,
});
const chunk = TypeCompiler.Compile(Type.Object({ choices: Type.Array(choice) }));

class OpenaiReader implements EventReader {
  #started = false;
  #reason: FinishReason | null = null;
  #usage: CountedUsage | null = null;

  read(data: string): readonly GenerationEvent[] {
    if (data === "[DONE]") return [];
    const value = readEvent(data, chunk);
    this.#usage = usageIn(value, this.#usage);
    const [choice] = value.choices;
    const events: GenerationEvent[] = [];
    if (!this.#started) events.push({ kind: "start", prompt_tokens: this.#usage?.prompt_tokens ?? 0 });
    this.#started = true;
    const said = choice?.delta?.content ?? choice?.text ?? "";
    if (said !== "") events.push({ kind: "text", choice: 0, text: said, tokens: [] });
    if (choice?.finish_reason) this.#reason = choice.finish_reason === "length" ? "length" : "stop";
    return events;
  }

  end(): readonly GenerationEvent[] {
    if (this.#reason === null) throw faltering("upstream", "Cannot read the provider: its stream ended early");
    return [
      { kind: "finish", choice: 0, reason: this.#reason, stop_text: null },
      { kind: "end", usage: counted(this.#usage) },
    ];
  }
}
