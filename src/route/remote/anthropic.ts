/** Speaks Anthropic's protocol to a provider. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { CountedUsage } from "../../core/exchange.ts";
import type {
  FinishReason,
  GenerationEvent,
  GenerationRequest,
  Message,
  SamplingWishes,
} from "../../core/generation.ts";
import type { Dialect, EventReader } from "./dialect.ts";
import { counted, readEvent } from "./event-json.ts";
import { spokenSampling, unspoken } from "./spoken-wishes.ts";
import { faltering } from "./upstream-failure.ts";
import { usageIn } from "./usage.ts";

const VERSION = "2023-06-01";
// The protocol wants a number; this many every one of its models allows.
const TOKENS_MAX_DEFAULT = 4096;
const TEMPERATURE_MAX = 1;
const SPOKEN = ["temperature", "top_p", "top_k"] as const;

export const anthropicDialect: Dialect = {
  paths: { messages: "/messages" },
  headers: (key): Readonly<Record<string, string>> => ({
    "anthropic-version": VERSION,
    ...(key === null ? {} : { "x-api-key": key }),
  }),
  write(request, model) {
    refuseHeat(request.sampling);
    const { system, messages } = spoken(request);
    const body = {
      model,
      stream: true,
      max_tokens: request.tokens_max ?? TOKENS_MAX_DEFAULT,
      ...(system === "" ? {} : { system }),
      messages,
      ...spokenSampling(request, SPOKEN),
      ...(request.stop.length === 0 ? {} : { stop_sequences: request.stop }),
    };
    return { path: "/messages", body };
  },
  reader: () => new AnthropicReader(),
};

function refuseHeat({ temperature }: SamplingWishes): void {
  if ((temperature ?? 0) <= TEMPERATURE_MAX) return;
  throw unspoken("temperature", `it takes at most ${TEMPERATURE_MAX}, found ${temperature}`);
}

/** Its system text stands apart from the talk. */
function spoken({ prompt }: GenerationRequest): { system: string; messages: readonly object[] } {
  if (prompt.kind !== "messages") throw unspoken("prompt", "it takes a chat and not a bare text");
  const of = (system: boolean) => prompt.messages.filter((message) => (message.role === "system") === system);
  return {
    system: of(true)
      .map((message) => message.content)
      .join("\n\n"),
    messages: of(false).map(plainMessage),
  };
}

function plainMessage(message: Message): object {
  const calls = message.role === "tool" || (message.role === "assistant" && message.tool_calls.length > 0);
  if (calls) throw unspoken("messages", "calls of tools are not translated yet");
  return { role: message.role, content: message.content };
}

const event = TypeCompiler.Compile(
  Type.Object({
    type: Type.String(),
    delta: Type.Optional(
      Type.Object({
        type: Type.Optional(Type.String()),
        text: Type.Optional(Type.String()),
        stop_reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      }),
    ),
  }),
);

class AnthropicReader implements EventReader {
  #reason: FinishReason = "stop";
  #usage: CountedUsage | null = null;
  #ended = false;

  read(data: string): readonly GenerationEvent[] {
    const value = readEvent(data, event);
    this.#usage = usageIn(value, this.#usage);
    switch (value.type) {
      case "message_start":
        return [{ kind: "start", prompt_tokens: this.#usage?.prompt_tokens ?? 0 }];
      case "content_block_delta":
        if (value.delta?.type !== "text_delta") return [];
        return [{ kind: "text", choice: 0, text: value.delta.text ?? "", tokens: [] }];
      case "message_delta":
        if (value.delta?.stop_reason) this.#reason = value.delta.stop_reason === "max_tokens" ? "length" : "stop";
        return [];
      case "message_stop":
        this.#ended = true;
        return [];
      default:
        return []; // the protocol asks that kinds of events which are new be let pass
    }
  }

  end(): readonly GenerationEvent[] {
    if (!this.#ended) throw faltering("upstream", "Cannot read the provider: its stream ended early");
    return [
      { kind: "finish", choice: 0, reason: this.#reason, stop_text: null },
      { kind: "end", usage: counted(this.#usage) },
    ];
  }
}
