/** Writes the calls of one answer as events. Knows no form of a call. */

import type { AnswerEvent } from "./events.ts";
import type { Input } from "./input.ts";

/** The calls of one answer, as they are written out. */
export class CallWriter {
  readonly #input: Input;
  readonly #add: (event: AnswerEvent) => void;
  #count = 0;
  #open: { id: string | null } | null = null;

  constructor(input: Input, add: (event: AnswerEvent) => void) {
    this.#input = input;
    this.#add = add;
  }

  get count(): number {
    return this.#count;
  }

  get isOpen(): boolean {
    return this.#open !== null;
  }

  begin(name: string, id: string | null): void {
    this.beginCut(name, id);
    this.#input.settle();
  }

  /** One whose text ended before its arguments; what else it held goes to a report. */
  beginCut(name: string, id: string | null): void {
    this.#open = { id };
    this.#add({ kind: "call", index: this.#count, id, name });
    this.#count += 1;
  }

  readonly write = (text: string): void => {
    this.#add({ kind: "arguments", index: this.#count - 1, text });
    this.#input.settle();
  };

  /** `late_id`: came after the arguments. */
  end(late_id: string | null = null): void {
    this.#add({ kind: "call_end", index: this.#count - 1, id: this.#open?.id ?? late_id });
    this.#open = null;
    this.#input.settle();
  }

  /** The call stays as far as it came. */
  abandon(): void {
    this.#open = null;
  }

  ignore(text: string): void {
    this.#add({ kind: "report", trouble: "ignored", reason: "nothing is known by that name", text });
  }
}
