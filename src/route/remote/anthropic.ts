/** Speaks Anthropic's protocol to a provider. Knows no HTTP. */

import { type Static, Type } from "@sinclair/typebox";
import type { CountedUsage } from "../../core/exchange.ts";
import {
  ALL_TOKENS,
  type AssistantMessage,
  type FinishReason,
  type GenerationEvent,
  type GenerationRequest,
  type Message,
  type SamplingWishes,
} from "../../core/generation.ts";
import { checkedWhenUsed } from "./checked-when-used.ts";
import type { Dialect, EventReader } from "./dialect.ts";
import { counted, readEvent } from "./event-json.ts";
import { type Piece, piecesOf } from "./seen-words.ts";
import { spokenSampling, unspoken } from "./spoken-wishes.ts";
import { SignedThoughts } from "./thoughts.ts";
import { faltering } from "./upstream-failure.ts";
import { usageIn } from "./usage.ts";

const VERSION = "2023-06-01";
// The protocol wants a number; this many every one of its models allows.
const TOKENS_MAX_DEFAULT = 4096;
const TEMPERATURE_MAX = 1;
const SPOKEN = ["temperature", "top_p", "top_k"] as const;

export const anthropicDialect: Dialect = {
  paths: { messages: "/messages", count_tokens: "/messages/count_tokens" },
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
      max_tokens: request.tokens_max ?? TOKENS_MAX_DEFAULT + (thoughtTokens(request) ?? 0),
      ...(system === "" ? {} : { system }),
      messages,
      ...spokenSampling(request, SPOKEN),
      ...(request.stop.length === 0 ? {} : { stop_sequences: request.stop }),
      ...toolsOf(request),
      ...thinkingOf(request),
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
  if (prompt.ends === "bare") throw unspoken("add_generation_prompt", "it always begins an answer");
  if (prompt.ends !== "begun" && prompt.messages.at(-1)?.role === "assistant") {
    throw unspoken(
      "messages",
      "it would go on with the last of them, which is the assistant's and not said to be open",
    );
  }
  const system = prompt.messages.flatMap((message) => (message.role === "system" ? [message.content] : []));
  return { system: system.join("\n\n"), messages: turnsOf(prompt.messages) };
}

interface Turn {
  readonly role: "user" | "assistant";
  content: string | object[];
}

/** The results of one answer's calls, and what the user says to them, are one turn. */
function turnsOf(messages: readonly Message[]): readonly Turn[] {
  const turns: Turn[] = [];
  for (const message of messages) {
    if (message.role === "system") continue;
    if (message.role === "assistant") {
      turns.push(assistantTurn(message));
      continue;
    }
    const before = turns.at(-1);
    const results = before?.role === "user" && Array.isArray(before.content) ? before.content : null;
    if (results !== null) results.push(...blocksOf(message));
    else turns.push({ role: "user", content: isPlain(message) ? message.content : blocksOf(message) });
  }
  return turns;
}

type Asked = Extract<Message, { role: "user" | "tool" }>;

function isPlain(message: Asked): boolean {
  return message.role === "user" && message.images === undefined;
}

function blocksOf(message: Asked): object[] {
  if (message.role === "user") return piecesOf(message).map(blockOf);
  const { tool_call_id: tool_use_id, content, images } = message;
  return [
    { type: "tool_result", tool_use_id, content: images === undefined ? content : piecesOf(message).map(blockOf) },
  ];
}

function blockOf(piece: Piece): object {
  if (piece.kind === "text") return { type: "text", text: piece.text };
  const { source, detail } = piece;
  if (detail !== undefined) throw unspoken("image_url.detail", "it looks at every image alike");
  if (source.kind === "url") return { type: "image", source: { type: "url", url: source.url } };
  return { type: "image", source: { type: "base64", media_type: source.media_type, data: source.base64 } };
}

function assistantTurn({ content, reasoning, tool_calls }: AssistantMessage): Turn {
  const signature = reasoning === null ? null : THOUGHTS.signatureOf(reasoning);
  if (signature === null && tool_calls.length === 0) return { role: "assistant", content };
  const calls = tool_calls.map(({ id, name, arguments: json }) => {
    return { type: "tool_use", id, name, input: inputOf(json, name) };
  });
  const thought = signature === null ? [] : [{ type: "thinking", thinking: reasoning, signature }];
  const said = content === "" ? [] : [{ type: "text", text: content }];
  return { role: "assistant", content: [...thought, ...said, ...calls] };
}

/** Anthropic reads no thought but its own, which its signature proves; others it would refuse, or not look at. */
const THOUGHTS = new SignedThoughts();

function inputOf(json: string, name: string): unknown {
  try {
    return JSON.parse(json === "" ? "{}" : json);
  } catch {
    throw unspoken("messages", `the arguments of a call of "${name}" are not JSON`);
  }
}

function toolsOf({ tools, tool_choice, parallel_tool_calls }: GenerationRequest): object {
  if (tools.length === 0) return {};
  const type = CHOICES[tool_choice.kind];
  const named = tool_choice.kind === "named" ? { name: tool_choice.name } : {};
  const alone = parallel_tool_calls || type === "none" ? {} : { disable_parallel_tool_use: true };
  return {
    tools: tools.map(({ name, description, parameters, strict }) => ({
      name,
      input_schema: parameters,
      ...(description === null ? {} : { description }),
      ...(strict ? { strict } : {}),
    })),
    tool_choice: { type, ...named, ...alone },
  };
}

const CHOICES = { auto: "auto", none: "none", required: "any", named: "tool" } as const;

/** Of a thought, where the caller bounds it. */
function thoughtTokens({ reasoning: { tokens_max } }: GenerationRequest): number | null {
  return tokens_max === ALL_TOKENS ? null : tokens_max;
}

function thinkingOf(request: GenerationRequest): object {
  const { effort } = request.reasoning;
  const tokens_max = thoughtTokens(request);
  if (effort === "none" || tokens_max === 0) return { thinking: { type: "disabled" } };
  if (effort === null && tokens_max === null) return {};
  const thinking = tokens_max === null ? { type: "adaptive" } : { type: "enabled", budget_tokens: tokens_max };
  // Its least effort is "low".
  return { thinking, ...(effort === null ? {} : { output_config: { effort: effort === "minimal" ? "low" : effort } }) };
}

const eventSchema = Type.Object({
  type: Type.String(),
  delta: Type.Optional(
    Type.Object({
      type: Type.Optional(Type.String()),
      text: Type.Optional(Type.String()),
      thinking: Type.Optional(Type.String()),
      signature: Type.Optional(Type.String()),
      partial_json: Type.Optional(Type.String()),
      stop_reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      stop_sequence: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    }),
  ),
  content_block: Type.Optional(
    Type.Object({ type: Type.String(), id: Type.Optional(Type.String()), name: Type.Optional(Type.String()) }),
  ),
});
const event = checkedWhenUsed(eventSchema);
type Told = Static<typeof eventSchema>;

class AnthropicReader implements EventReader {
  #reason: FinishReason = "stop";
  #stop_text: string | null = null;
  #calls = 0;
  /** Whether anything has come of the arguments of the call that is open; null: none is. */
  #has_arguments: boolean | null = null;
  #thought = "";
  #usage: CountedUsage | null = null;
  #ended = false;

  read(data: string): readonly GenerationEvent[] {
    const value = readEvent(data, event);
    this.#usage = usageIn(value, this.#usage);
    switch (value.type) {
      case "message_start":
        return [{ kind: "start", prompt_tokens: this.#usage?.prompt_tokens ?? 0 }];
      case "content_block_start":
        return this.#begin(value.content_block ?? null);
      case "content_block_delta":
        return this.#add(value.delta ?? {});
      case "content_block_stop":
        return this.#close();
      case "message_delta":
        if (value.delta?.stop_reason) this.#reason = REASONS[value.delta.stop_reason] ?? "stop";
        this.#stop_text = value.delta?.stop_sequence ?? this.#stop_text;
        return [];
      case "message_stop":
        this.#ended = true;
        return [];
      default:
        return []; // the protocol asks that kinds of events which are new be let pass
    }
  }

  #begin(block: Told["content_block"] | null): readonly GenerationEvent[] {
    if (block?.type === "thinking") this.#thought = "";
    if (block?.type !== "tool_use") return [];
    const index = this.#calls++;
    this.#has_arguments = false;
    return [{ kind: "call", choice: 0, index, id: block.id ?? `toolu_${index}`, name: block.name ?? "" }];
  }

  #add(delta: NonNullable<Told["delta"]>): readonly GenerationEvent[] {
    const { text = "", thinking = "", signature = "", partial_json = "" } = delta;
    switch (delta.type) {
      case "text_delta":
        return [{ kind: "text", choice: 0, text, tokens: [] }];
      case "thinking_delta":
        this.#thought += thinking;
        return [{ kind: "reasoning", choice: 0, text: thinking }];
      case "signature_delta":
        THOUGHTS.keep(this.#thought, signature);
        return [];
      case "input_json_delta":
        if (partial_json === "") return [];
        this.#has_arguments = true;
        return [{ kind: "arguments", choice: 0, index: this.#calls - 1, text: partial_json }];
      default:
        return [];
    }
  }

  /** Of a call without arguments nothing comes; in other protocols they are an empty object. */
  #close(): readonly GenerationEvent[] {
    const missing = this.#has_arguments === false;
    this.#has_arguments = null;
    return missing ? [{ kind: "arguments", choice: 0, index: this.#calls - 1, text: "{}" }] : [];
  }

  end(): readonly GenerationEvent[] {
    if (!this.#ended) throw faltering("upstream", "Cannot read the provider: its stream ended early");
    return [
      { kind: "finish", choice: 0, reason: this.#reason, stop_text: this.#stop_text },
      { kind: "end", usage: counted(this.#usage) },
    ];
  }
}

/** The rest have no other word in the neutral form than that it stopped. */
const REASONS: Readonly<Record<string, FinishReason>> = {
  max_tokens: "length",
  model_context_window_exceeded: "length",
  tool_use: "tool_calls",
};
