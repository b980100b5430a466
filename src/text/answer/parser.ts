/** Turns a model's text into content, reasoning and tool calls while it comes. Knows no tokens and no wire format. */

import { channelMessages } from "./channels.ts";
import { type AnswerEvent, EventList } from "./events.ts";
import { Input, type Parse } from "./input.ts";
import { type AnswerOptions, Segments } from "./segments.ts";

export class AnswerParser {
  readonly #input = new Input();
  readonly #events = new EventList();
  readonly #segments: Segments;
  readonly #parse: Parse;

  constructor(options: AnswerOptions) {
    const segments = new Segments(this.#input, this.#events, options);
    this.#segments = segments;
    this.#parse =
      options.format.channels === null ? segments.answer() : channelMessages(segments, options.format.channels);
  }

  /** Whether the unit of the text at this place, which was read, is a thought's. */
  isThought(at: number): boolean {
    return this.#segments.isThought(at);
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
