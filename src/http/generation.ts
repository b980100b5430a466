/** Runs one generation and answers with it, whole or as server-sent events. Knows no dialect. */

import { assert } from "../core/assert.ts";
import type { DrawnReport, FinishReason, GenerationEvent, GenerationRequest } from "../core/generation.ts";
import { generateTogether } from "../core/together.ts";
import type { Answer, AnswerChoice, AnswerWriter } from "../wire/openai-answer.ts";
import { isBug, streamProblem } from "../wire/problem.ts";
import type { ServerParts } from "./parts.ts";

type Generations = readonly [GenerationRequest, ...GenerationRequest[]];

export interface Asked {
  /** Of one request, answered together. */
  readonly generations: Generations;
  readonly stream: boolean;
  readonly writer: AnswerWriter;
}

/** Throws what the backend throws before its first event; only after that a stream is begun. */
export async function answer(parts: ServerParts, asked: Asked, signal: AbortSignal): Promise<Response> {
  const running = new Running(parts, asked.generations, signal);
  const first = await running.next();
  if (!asked.stream) return Response.json(asked.writer.body(await collect(asked, running, first)));
  const messages = streamMessages(parts, asked, running, first);
  return new Response(eventStream(messages, running, parts.unread_ms_max), { headers: STREAM_HEADERS });
}

export const GENERATION_PROBLEMS = [400, 403, 404, 413, 415, 429, 500, 503] as const;

const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no", // a proxy of nginx's kind would hold events back
};

async function collect({ generations }: Asked, running: Running, first: GenerationEvent): Promise<Answer> {
  const parts = generations.flatMap(({ choices }) => Array.from({ length: choices }, () => new ChoiceParts()));
  try {
    for (let event = first; ; event = await running.next()) {
      if ("choice" in event) parts[event.choice]?.add(event);
      if (event.kind === "end") return { choices: parts.map((choice) => choice.whole()), usage: event.usage };
    }
  } finally {
    running.leave();
  }
}

/** What has come of one choice. */
class ChoiceParts {
  readonly #texts: string[] = [];
  readonly #reasoning: string[] = [];
  readonly #calls: { readonly id: string; readonly name: string; readonly parts: string[] }[] = [];
  readonly #tokens: DrawnReport[] = [];
  #finish: { readonly reason: FinishReason; readonly stop_text: string | null } | null = null;

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
    const { reason, stop_text } = this.#finish;
    const tool_calls = this.#calls.map(({ id, name, parts }) => ({ id, name, arguments: parts.join("") }));
    const texts = { text: this.#texts.join(""), reasoning: this.#reasoning.join("") };
    return { ...texts, tool_calls, tokens: this.#tokens, reason, stop_text };
  }
}

/**
 * A message is written when the one before has been read. The engine does not wait for that: its tokens do, at most a
 * context of them, until the client reads again or has not for `unread_ms_max`.
 */
function eventStream(
  messages: AsyncIterator<string>,
  running: Running,
  unread_ms_max: number,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let unread: ReturnType<typeof setTimeout> | undefined;
  return new ReadableStream(
    {
      async pull(controller) {
        clearTimeout(unread);
        const { done, value } = await messages.next();
        if (done === true) return controller.close();
        controller.enqueue(encoder.encode(value));
        unread = setTimeout(() => {
          running.leave();
          controller.error(new Error(`The client has read nothing for ${unread_ms_max} ms`));
        }, unread_ms_max);
      },
      cancel() {
        clearTimeout(unread);
        running.leave();
      },
    },
    { highWaterMark: 0 },
  );
}

async function* streamMessages(
  parts: ServerParts,
  { generations, writer }: Asked,
  running: Running,
  first: GenerationEvent,
): AsyncGenerator<string, void, undefined> {
  try {
    for (let event = first; ; event = await running.next()) {
      const chunks = writer.chunks(event);
      if (chunks.length > 0) yield chunks.map(dataLine).join("");
      if (event.kind === "end") break;
    }
    yield "data: [DONE]\n\n";
  } catch (error) {
    if (running.left) return;
    const [{ request_id }] = generations;
    if (isBug(error)) parts.reportBug(error, request_id);
    yield dataLine(streamProblem(error, request_id));
  } finally {
    running.leave();
  }
}

function dataLine(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

/** A generation in progress; it ends by itself, or when its client leaves. */
class Running {
  readonly #events: AsyncIterator<GenerationEvent>;
  readonly #abort = new AbortController();
  #last: GenerationEvent["kind"] | null = null;

  constructor(parts: ServerParts, generations: Generations, client: AbortSignal) {
    this.#events = generateTogether(parts.backend, generations, this.#abort.signal);
    if (client.aborted) this.leave();
    else client.addEventListener("abort", () => this.leave(), { once: true });
  }

  /** Whether the client has gone: nobody reads what comes next. */
  get left(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Not to be called after the terminal event. */
  async next(): Promise<GenerationEvent> {
    assert(this.#last !== "end", "nobody asks for an event after the last");
    const { done, value } = await this.#events.next();
    assert(done !== true, "a backend ends every answer with a terminal event");
    assert((this.#last === null) === (value.kind === "start"), "an answer begins with one start event");
    this.#last = value.kind;
    if (value.kind === "end") await this.#events.return?.();
    return value;
  }

  leave(): void {
    if (this.#last === "end" || this.left) return;
    this.#abort.abort(new DOMException("The client has left", "AbortError"));
    // What the backend throws on its way out has no reader any more.
    this.#events.return?.().then(undefined, () => undefined);
  }
}
