/** Answers with neutral events, whole or as server-sent events. Knows no dialect. */

import { assert } from "../core/assert.ts";
import type { Flow, Generations } from "../core/exchange.ts";
import type { DrawnReport, GenerationEvent } from "../core/generation.ts";
import type { Answer, AnswerChoice, AnswerWriter } from "../wire/openai-answer.ts";
import type { Exchange } from "./exchange.ts";

export interface GenerationAsked {
  readonly kind: "generation";
  readonly generations: Generations;
  readonly stream: boolean;
  readonly writer: AnswerWriter;
  /** Where nobody need wait for the answer: begins it, and gives what its caller is told of it. */
  readonly background?: Begin;
}

export type Tell = (chunks: readonly object[]) => void;

/** `answer` tells what comes of it, and throws when it fails; `cancel` ends it early. */
export type Begin = (answer: (tell: Tell) => Promise<void>, cancel: () => void) => Response;

export const GENERATION_PROBLEMS = [400, 403, 404, 408, 409, 413, 415, 429, 500, 502, 503, 504] as const;

/** Begins with its start event, and ends with its terminal one. */
export class Events {
  readonly #events: Flow<GenerationEvent>;
  readonly #exchange: Exchange;
  #last: GenerationEvent["kind"] | null = null;

  constructor(events: Flow<GenerationEvent>, exchange: Exchange) {
    this.#events = events;
    this.#exchange = exchange;
  }

  /** Not to be called after the terminal event. */
  async next(): Promise<GenerationEvent> {
    assert(this.#last !== "end", "nobody asks for an event after the last");
    const { done, value } = await this.#events.next();
    assert(done !== true, "a backend ends every answer with a terminal event");
    assert((this.#last === null) === (value.kind === "start"), "an answer begins with one start event");
    this.#last = value.kind;
    if (value.kind !== "start") this.#exchange.tokenCame();
    else this.#exchange.trace.steadied_lines = value.steadied_lines ?? 0;
    if (value.kind === "end") {
      this.#exchange.trace.usage = value.usage;
      await this.#events.return();
    }
    return value;
  }
}

export async function wholeAnswer({ generations, writer }: GenerationAsked, events: Events): Promise<object> {
  const parts = generations.flatMap(({ choices }) => Array.from({ length: choices }, () => new ChoiceParts()));
  return writer.body(await collect(parts, events));
}

async function collect(parts: readonly ChoiceParts[], events: Events): Promise<Answer> {
  while (true) {
    const event = await events.next();
    if ("choice" in event) parts[event.choice]?.add(event);
    if (event.kind === "end") {
      const { usage, timing = null, token_ids = null } = event;
      return { choices: parts.map((choice) => choice.whole()), usage, timing, token_ids };
    }
  }
}

/** What has come of one choice. */
class ChoiceParts {
  readonly #texts: string[] = [];
  readonly #reasoning: string[] = [];
  readonly #calls: { readonly id: string; readonly name: string; readonly parts: string[] }[] = [];
  readonly #tokens: DrawnReport[] = [];
  #finish: Extract<GenerationEvent, { kind: "finish" }> | null = null;

  add(event: GenerationEvent & { choice: number }): void {
    switch (event.kind) {
      case "text":
        this.#texts.push(event.text);
        this.#tokens.push(...event.tokens);
        break;
      case "reasoning":
        this.#reasoning.push(event.text);
        break;
      case "call":
        this.#calls.push({ id: event.id, name: event.name, parts: [] });
        break;
      case "arguments":
        this.#calls[event.index]?.parts.push(event.text);
        break;
      case "finish":
        this.#finish = event;
    }
  }

  whole(): AnswerChoice {
    assert(this.#finish !== null, "a choice finishes before its answer ends");
    const { reason, stop_text, reports = [] } = this.#finish;
    const tool_calls = this.#calls.map(({ id, name, parts }) => ({ id, name, arguments: parts.join("") }));
    const texts = { text: this.#texts.join(""), reasoning: this.#reasoning.join("") };
    return { ...texts, tool_calls, tokens: this.#tokens, reason, stop_text, reports };
  }
}

/** How a dialect writes the chunks of a stream. */
export interface Framing {
  readonly media_type: string;
  frame(chunk: object): string;
  /** Goes behind the last chunk of a whole answer. */
  readonly ending: string;
  /** Tells a caller who waits that somebody is there, in one line of words; null: the protocol has no place for them. */
  readonly waiting: ((words: string) => string) | null;
}

export async function* streamedAnswer(
  { writer }: GenerationAsked,
  events: Events,
  { frame, ending }: Framing,
): AsyncGenerator<string, void, undefined> {
  while (true) {
    const event = await events.next();
    const chunks = writer.chunks(event);
    if (chunks.length > 0) yield chunks.map(frame).join("");
    if (event.kind === "end") break;
  }
  if (ending !== "") yield ending;
}

/** The media type of server-sent events. */
export const EVENT_STREAM = "text/event-stream; charset=utf-8";

/** An event is named by the type of its data. */
export function namedEvent(chunk: object): string {
  const type = "type" in chunk ? chunk.type : "error";
  return `event: ${type}\ndata: ${JSON.stringify(chunk)}\n\n`;
}

export function dataLine(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
