/** Turns a model's text into content, reasoning and tool calls while it comes. Knows no tokens and no wire format. */

import { channelMessages } from "./channels.ts";
import { type AnswerEvent, EventList } from "./events.ts";
import { Input, type Parse } from "./input.ts";
import { type AnswerOptions, Segments } from "./segments.ts";

export class AnswerParser {
  readonly #input = new Input();
  readonly #events = new EventList();
  readonly #parse: Parse;

  constructor(options: AnswerOptions) {
    const segments = new Segments(this.#input, this.#events, options);
    this.#parse =
      options.format.channels === null ? segments.answer() : channelMessages(segments, options.format.channels);
  }

  push(text: string): readonly AnswerEvent[] {
    this.#input.push(text);
    this.#parse.next();
    return this.#events.take();
  }

  end(): readonly AnswerEvent[] {
    this.#input.end();
    this.#parse.next();
    return this.#events.take();
  }
}
