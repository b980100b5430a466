/** The kinds of text in an answer: content, thoughts and calls, and the space between them. Knows no messages with headers. */

import type { ToolDefinition } from "../../core/generation.ts";
import { CallWriter } from "./call-writer.ts";
import { readCallObject, readCalls } from "./calls.ts";
import type { EventList } from "./events.ts";
import type { AnswerFormat, CallMarks, Marks } from "./formats.ts";
import { type Input, NotACall, type Parse } from "./input.ts";

export interface AnswerOptions {
  readonly format: AnswerFormat;
  readonly thoughts: readonly Marks[];
  /** The prompt has begun this thought. */
  readonly open_thought: Marks | null;
  readonly tools: readonly ToolDefinition[];
  /** Otherwise what would be a call is content. */
  readonly reads_calls: boolean;
  /** Otherwise thoughts are content, with their marks. */
  readonly parts_reasoning: boolean;
  /** The prompt has begun the content, which goes on where it ends. */
  readonly is_begun?: boolean;
}

/** The kinds of text in an answer, and what lies between them. */
export class Segments {
  readonly input: Input;
  readonly writer: CallWriter;
  readonly content: FlowingText;
  readonly options: AnswerOptions;
  readonly #events: EventList;
  readonly #marks: ReadonlyMap<string, Mark>;
  readonly #thoughts: { readonly from: number; readonly to: number }[] = [];
  /** Nothing but thoughts was said yet, or since the last call. */
  #is_start: boolean;

  constructor(input: Input, events: EventList, options: AnswerOptions) {
    this.#is_start = options.is_begun !== true;
    this.input = input;
    this.options = options;
    this.#events = events;
    this.#marks = marksIn(options);
    const lines = options.reads_calls && options.format.calls_begin_lines ? LINES_MAX : 0;
    this.content = new FlowingText(input, lines, (text, at) => {
      this.#is_start = false;
      events.add({ kind: "content", text, at });
      input.settle();
    });
    this.writer = new CallWriter(input, (event) => {
      if (event.kind === "call") this.#separate();
      events.add(event);
    });
  }

  /** Whether the unit of the model's text at this place is a thought's. */
  isThought(at: number): boolean {
    return this.#thoughts.some(({ from, to }) => from <= at && at < to);
  }

  *answer(): Parse {
    const { open_thought, parts_reasoning } = this.options;
    if (open_thought !== null && parts_reasoning) yield* this.#thought(open_thought);
    else if (open_thought !== null) this.content.push(open_thought.open);
    yield* this.text([]);
    this.content.end();
  }

  /** Content, thoughts and calls, up to one of `stops`, or to the end (null). */
  *text(stops: readonly string[]): Parse<string | null> {
    const anywhere = [...this.#marks].flatMap(([text, mark]) => (isOfStart(mark, text) ? [] : [text]));
    const [at_start, later] = [
      [...stops, ...this.#marks.keys()],
      [...stops, ...anywhere],
    ];
    for (;;) {
      const stop = yield* this.input.until(
        () => (this.#is_start ? at_start : later),
        (text) => this.content.push(text),
      );
      if (stop === null || stops.includes(stop)) return stop;
      const mark = this.#marks.get(stop);
      if (mark !== undefined) yield* this.#at(mark, stop);
    }
  }

  /** Text up to one of `stops`, as a thought. */
  *reasoning(stops: readonly string[]): Parse<string | null> {
    const from = this.input.position;
    this.#thoughts.push({ from, to: Number.POSITIVE_INFINITY });
    const thought = new FlowingText(this.input, LINES_MAX, (text) => this.#events.add({ kind: "reasoning", text }));
    thought.drop();
    const stop = yield* this.input.until(stops, (text) => thought.push(text));
    this.#thoughts.splice(-1, 1, { from, to: this.input.position });
    if (stop === null) thought.end();
    this.#separate();
    return stop;
  }

  /** Runs the parse of a call; what is none comes back as content. */
  *attempt(parse: Parse): Parse {
    try {
      yield* parse;
    } catch (trouble) {
      if (!(trouble instanceof NotACall)) throw trouble;
      this.#recover(trouble);
    }
  }

  #recover({ trouble, reason }: NotACall): void {
    const is_cut = trouble === "unfinished" && this.writer.isOpen;
    this.writer.abandon();
    const text = this.input.takeUnsettled();
    this.#events.add({ kind: "report", trouble, reason, text });
    if (!is_cut) this.content.push(text);
  }

  *#at(mark: Mark, text: string): Parse {
    const { input } = this;
    if (mark.kind === "calls" || mark.kind === "bare") {
      input.settle();
      const start = input.position;
      yield* this.attempt(this.#callsAt(mark, text));
      if (input.position > start) return;
    }
    input.skip(text.length);
    if (mark.kind === "around") return;
    if (mark.kind === "thought" && this.#is_start) yield* this.#thought(mark.marks);
    else this.content.push(text);
  }

  *#callsAt(mark: Mark & { kind: "calls" | "bare" }, text: string): Parse {
    if (mark.kind === "calls") {
      this.input.skip(text.length - keptLength(text));
      yield* readCalls(this.input, mark.marks, this.writer, this.#callOptions);
    } else if (text !== "{") yield* readCalls(this.input, BARE_LIST, this.writer, this.#callOptions);
    else if (this.#is_start) yield* this.#bareObjects();
  }

  /** One, or more with semicolons between them. */
  *#bareObjects(): Parse {
    do {
      yield* readCallObject(this.input, this.writer, this.#callOptions, true);
      yield* this.input.space();
      if (!(yield* this.input.take(";"))) return;
      yield* this.input.space();
    } while (yield* this.input.startsWith("{"));
  }

  *#thought({ open, close }: Marks): Parse {
    yield* this.input.space();
    // Some models begin again what the prompt has begun.
    if (this.options.open_thought !== null) yield* this.input.take(open);
    const calls = this.options.format.calls_end_thoughts ? this.options.format.calls.flatMap(({ opens }) => opens) : [];
    const stop = yield* this.reasoning([close, ...calls]);
    if (stop === close) this.input.skip(close.length);
  }

  /** What follows begins anew: space around it means nothing. */
  #separate(): void {
    this.content.drop();
    this.#is_start = true;
  }

  get #callOptions() {
    return { tools: this.options.tools, names_are_keys: this.options.format.names_are_keys };
  }
}

/** Of a mark that is also the beginning of the call, or of the list of calls. */
function keptLength(mark: string): number {
  if (mark.endsWith("=")) return mark.length;
  return mark.endsWith("[") ? 1 : 0;
}

type Mark =
  | { readonly kind: "around" }
  | { readonly kind: "thought"; readonly marks: Marks }
  | { readonly kind: "calls"; readonly marks: CallMarks }
  | { readonly kind: "bare" };

/** It means something only where an answer begins. */
function isOfStart(mark: Mark, text: string): boolean {
  return mark.kind === "thought" || (mark.kind === "bare" && text === "{");
}

const BARE_LIST: CallMarks = { opens: [], between: [], closes: [] };

function marksIn({ format, thoughts, tools, reads_calls, parts_reasoning }: AnswerOptions): ReadonlyMap<string, Mark> {
  const all = new Map<string, Mark>();
  for (const text of format.around_content) all.set(text, { kind: "around" });
  if (parts_reasoning) for (const marks of thoughts) all.set(marks.open, { kind: "thought", marks });
  if (!reads_calls) return all;
  for (const marks of format.calls) for (const open of marks.opens) all.set(open, { kind: "calls", marks });
  if (format.bare === "python") for (const { name } of tools) all.set(`[${name}(`, { kind: "bare" });
  if (format.bare === "json" && tools.length > 0) all.set("{", { kind: "bare" });
  return all;
}

/** Of the line ends before a call or the end of a thought: an empty line, and no text of its own. */
const LINES_MAX = 2;

/** Text that is passed on as it comes, but for space that may belong to what stands in its place. */
class FlowingText {
  readonly #input: Input;
  readonly #lines_max: number;
  readonly #write: (text: string, at: number) => void;
  #held = "";
  #held_at = 0;
  /** The unit that was written last, "" before any. */
  #last = "";
  /** Nothing but space came since something else stood here. */
  #is_fresh = false;

  /**
   * `lines_max`: of line ends that are dropped with the text that follows them.
   * `write` is told the place of a text in the input.
   */
  constructor(input: Input, lines_max: number, write: (text: string, at: number) => void) {
    this.#input = input;
    this.#lines_max = lines_max;
    this.#write = write;
  }

  /** The text that was read last. */
  push(text: string): void {
    // Space between two parts of the text stays where nothing else keeps their words apart; before the first it means nothing.
    const part = this.#is_fresh && this.#last.trim() === "" ? text.trimStart() : text;
    const at = this.#input.position - part.length;
    const kept = this.#heldLength(this.#held + part);
    const [from_held, from_part] = split(this.#held.length + part.length - kept, this.#held.length);
    this.#say(this.#held.slice(0, from_held), this.#held_at);
    this.#say(part.slice(0, from_part), at);
    this.#held_at = from_held < this.#held.length ? this.#held_at + from_held : at + from_part;
    this.#held = this.#held.slice(from_held) + part.slice(from_part);
  }

  /** Something else stands here, which the space around it belongs to. */
  drop(): void {
    this.#held = "";
    this.#is_fresh = true;
  }

  end(): void {
    if (!this.#is_fresh) this.#say(this.#held, this.#held_at);
    this.#held = "";
  }

  /** Of space before the first word, all; behind one, line ends. */
  #heldLength(text: string): number {
    if ((this.#is_fresh || this.#last === "") && text.trim() === "") return text.length;
    let lines = 0;
    while (lines < this.#lines_max && text.at(-1 - lines) === "\n") lines += 1;
    return lines;
  }

  #say(text: string, at: number): void {
    if (text === "") return;
    this.#last = text.slice(-1);
    this.#is_fresh = false;
    this.#write(text, at);
  }
}

/** How much of `length` lies in the first `first`, and how much behind it. */
function split(length: number, first: number): readonly [number, number] {
  return [Math.min(length, first), Math.max(0, length - first)];
}
