/**
 * What a choice says: its words as they are, or told apart into content, thoughts and calls. Knows no tokens but their
 * places.
 */

import type { DrawnReport, GenerationEvent, GenerationRequest, ParseReport } from "../core/generation.ts";
import type { AnswerEvent } from "../text/answer/events.ts";
import { AnswerParser } from "../text/answer/parser.ts";
import type { AnswerForm } from "../text/messages.ts";

/** Words of a row that may be sent. */
export interface Spoken {
  readonly text: string;
  /** Those that begin in the text, when the row tells of them. */
  readonly tokens: readonly PlacedToken[];
  /** Where each new token begins: UTF-16 units of the row's text before it. */
  readonly starts: readonly number[];
  /** The stop string that ends them. */
  readonly found: string | null;
}

export interface PlacedToken {
  /** UTF-16 units of the row's text before it. */
  readonly at: number;
  readonly report: DrawnReport;
}

/** An event of a choice before its finish. */
export type Said = Exclude<Extract<GenerationEvent, { choice: number }>, { kind: "finish" }>;

export interface Reading {
  readonly said: readonly Said[];
  /** So far. */
  readonly calls: number;
  /** Of the whole answer, at its end; null: nobody looked for thoughts. */
  readonly reasoning_tokens: number | null;
  /** What was not understood so far. */
  readonly reports: readonly ParseReport[];
  /** The answer has all that it may have: what else would come is not given. */
  readonly is_full: boolean;
}

export interface AnswerReader {
  read(spoken: Spoken, is_last: boolean): Reading;
}

/** Nothing is looked for in the words. */
export function plainReader(choice: number): AnswerReader {
  return {
    read: ({ text, tokens }) => {
      const drawn = tokens.map(({ report }) => report);
      const is_said = text !== "" || drawn.length > 0;
      return {
        said: is_said ? [{ kind: "text", choice, text, tokens: drawn }] : [],
        calls: 0,
        reasoning_tokens: null,
        reports: [],
        is_full: false,
      };
    },
  };
}

type ChatAsked = Pick<GenerationRequest, "tools" | "tool_choice" | "parallel_tool_calls">;

/** What a chat may call: a caller that wants no calls has offered no tools. */
export function toolsOffered({ tools, tool_choice }: Pick<ChatAsked, "tools" | "tool_choice">) {
  return tool_choice.kind === "none" ? [] : tools;
}

/** A model that is not asked to call may end its answer; one that must, and is small, calls on until its context is full. */
const FORCED_CALLS_MAX = 16;

/** Whoever names a tool wants one call of it. */
export function callsMax({ tool_choice: { kind }, parallel_tool_calls }: ChatAsked): number {
  if (!parallel_tool_calls || kind === "named") return 1;
  return kind === "required" ? FORCED_CALLS_MAX : Number.POSITIVE_INFINITY;
}

export class ChatReader implements AnswerReader {
  readonly #choice: number;
  readonly #calls_max: number;
  readonly #callId: () => string;
  readonly #parser: AnswerParser;
  readonly #ids = new Set<string>();
  readonly #starts: number[] = [];
  readonly #reports: ParseReport[] = [];
  #pending: readonly PlacedToken[] = [];

  /** `callId` makes one for a call whose model gives none. */
  constructor(choice: number, asked: ChatAsked, form: AnswerForm, callId: () => string) {
    const tools = toolsOffered(asked);
    this.#choice = choice;
    this.#calls_max = callsMax(asked);
    this.#callId = callId;
    this.#parser = new AnswerParser({ ...form, tools, reads_calls: tools.length > 0, parts_reasoning: true });
  }

  read({ text, tokens, starts }: Spoken, is_last: boolean): Reading {
    this.#starts.push(...starts);
    this.#pending = [...this.#pending, ...tokens];
    const events = [...this.#parser.push(text), ...(is_last ? this.#parser.end() : [])];
    const full = events.findIndex((event) => event.kind === "call" && event.index >= this.#calls_max);
    const said = (full < 0 ? events : events.slice(0, full)).flatMap((event) => this.#say(event) ?? []);
    const reasoning_tokens = this.#starts.filter((at) => this.#parser.isThought(at)).length;
    return { said, calls: this.#ids.size, reasoning_tokens, reports: this.#reports, is_full: full >= 0 };
  }

  #say(event: AnswerEvent): Said | null {
    const choice = this.#choice;
    switch (event.kind) {
      case "content": {
        const { text, at } = event;
        return { kind: "text", choice, text, tokens: this.#tokensIn(at, at + text.length) };
      }
      case "reasoning":
        return { kind: "reasoning", choice, text: event.text };
      case "call":
        return { kind: "call", choice, index: event.index, id: this.#idOf(event.id), name: event.name };
      case "arguments":
        return { kind: "arguments", choice, index: event.index, text: event.text };
      case "report": {
        const { trouble, reason, text } = event;
        this.#reports.push({ trouble, reason, text });
        return null;
      }
      case "call_end":
        return null;
    }
  }

  /** The tokens that begin there; those before belong to no content. */
  #tokensIn(start: number, end: number): readonly DrawnReport[] {
    const behind = this.#pending.findIndex(({ at }) => at >= end);
    const before = behind < 0 ? this.#pending : this.#pending.slice(0, behind);
    this.#pending = behind < 0 ? [] : this.#pending.slice(behind);
    return before.filter(({ at }) => at >= start).map(({ report }) => report);
  }

  /** A model may give one id twice; its caller could not tell the calls apart. */
  #idOf(own: string | null): string {
    const id = own === null || own === "" || this.#ids.has(own) ? this.#callId() : own;
    this.#ids.add(id);
    return id;
  }
}
