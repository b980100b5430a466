/** What a model's text becomes. Knows no format. */

import { assert } from "../../core/assert.ts";
import type { ParseReport } from "../../core/generation.ts";

export type AnswerEvent =
  /** `at`: the UTF-16 units of the model's text before it; content with something between it is two events. */
  | { readonly kind: "content"; readonly text: string; readonly at: number }
  | { readonly kind: "reasoning"; readonly text: string }
  /** `id` is the model's own, where it gave one before the arguments. */
  | { readonly kind: "call"; readonly index: number; readonly id: string | null; readonly name: string }
  /** The arguments are JSON text; every part goes behind the one before. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string }
  /** `id` here also where it came after the arguments. */
  | { readonly kind: "call_end"; readonly index: number; readonly id: string | null }
  | AnswerReport;

export interface AnswerReport extends ParseReport {
  readonly kind: "report";
}

export interface ParsedCall {
  readonly id: string | null;
  readonly name: string;
  readonly arguments: string;
}

/** A whole answer. */
export interface ParsedAnswer {
  readonly content: string;
  readonly reasoning: string;
  readonly tool_calls: readonly ParsedCall[];
  readonly reports: readonly AnswerReport[];
}

/** Joins what belongs together, so that the events do not tell how the text was cut. */
export class EventList {
  #events: AnswerEvent[] = [];

  add(event: AnswerEvent): void {
    const last = this.#events.at(-1);
    const joined = last === undefined ? null : join(last, event);
    if (joined === null) this.#events.push(event);
    else this.#events[this.#events.length - 1] = joined;
  }

  take(): readonly AnswerEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}

export function collectAnswer(events: readonly AnswerEvent[]): ParsedAnswer {
  const calls: { id: string | null; name: string; arguments: string }[] = [];
  const texts = { content: "", reasoning: "" };
  const reports: AnswerReport[] = [];
  for (const event of events) {
    if (event.kind === "content" || event.kind === "reasoning") texts[event.kind] += event.text;
    else if (event.kind === "call") calls.push({ id: event.id, name: event.name, arguments: "" });
    else if (event.kind === "report") reports.push(event);
    else {
      const call = calls[event.index];
      assert(call !== undefined, "a call begins before its arguments");
      if (event.kind === "arguments") call.arguments += event.text;
      else call.id = event.id;
    }
  }
  return { ...texts, tool_calls: calls, reports };
}

function join(first: AnswerEvent, second: AnswerEvent): AnswerEvent | null {
  if (first.kind === "content" && second.kind === "content") {
    return first.at + first.text.length === second.at ? { ...first, text: first.text + second.text } : null;
  }
  if (first.kind === "reasoning" && second.kind === "reasoning") return { ...first, text: first.text + second.text };
  if (first.kind !== "arguments" || second.kind !== "arguments" || first.index !== second.index) return null;
  return { ...first, text: first.text + second.text };
}
