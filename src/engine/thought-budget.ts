/** Ends the thought that an answer begins with when it has had its tokens. Knows bytes and token ids; nothing of logits. */

import { MARK_BYTE, type ThoughtBound, type TokenBytes } from "../core/grammar.ts";

type State =
  /** Nothing, white space or a part of the opening mark was drawn. */
  | { readonly at: "start" }
  | { readonly at: "thought"; readonly tokens: number }
  /** So many of the closing tokens were drawn. */
  | { readonly at: "end"; readonly tokens: number }
  | { readonly at: "answer" };

export class ThoughtBudget {
  readonly #bound: ThoughtBound;
  readonly #tokens: TokenBytes;
  readonly #open: string;
  readonly #close: string;
  /** The last of what was drawn, a unit for each byte. */
  #text = "";
  #state: State;

  constructor(bound: ThoughtBound, tokens: TokenBytes) {
    this.#bound = bound;
    this.#tokens = tokens;
    this.#open = Buffer.from(bound.open).toString("latin1");
    this.#close = Buffer.from(bound.close).toString("latin1");
    this.#state = bound.is_open ? this.#within(0) : { at: "start" };
  }

  /** The token that has to be drawn now; null: any. */
  get forced(): number | null {
    return this.#state.at === "end" ? (this.#bound.end_ids[this.#state.tokens] ?? null) : null;
  }

  /** Takes a token that was drawn. */
  accept(id: number): void {
    const state = this.#state;
    if (state.at === "answer") return;
    if (state.at === "end") {
      const tokens = state.tokens + 1;
      this.#state = tokens < this.#bound.end_ids.length ? { at: "end", tokens } : { at: "answer" };
      return;
    }
    this.#read(id);
    if (state.at === "start") this.#state = this.#begin();
    else if (this.#text.includes(this.#close)) this.#state = { at: "answer" };
    else this.#state = this.#within(state.tokens + 1);
  }

  #begin(): State {
    const said = this.#text.trimStart();
    if (said.startsWith(this.#open)) {
      this.#text = said.slice(this.#open.length);
      return this.#within(0);
    }
    return this.#open.startsWith(said) ? { at: "start" } : { at: "answer" };
  }

  /** No thought ends inside a character. */
  #within(tokens: number): State {
    this.#text = this.#text.slice(-this.#close.length - TOKEN_BYTES);
    return tokens >= this.#bound.tokens_max && endsCharacter(this.#text)
      ? { at: "end", tokens: 0 }
      : { at: "thought", tokens };
  }

  #read(id: number): void {
    const { bytes, offsets } = this.#tokens;
    const from = offsets[id] ?? 0;
    const begins = bytes[from] === MARK_BYTE ? from + 1 : from;
    this.#text += Buffer.from(bytes.subarray(begins, offsets[id + 1] ?? 0)).toString("latin1");
  }
}

/** More than a character has: enough to see whether one is whole. */
const TOKEN_BYTES = 8;

/** Of UTF-8. */
function endsCharacter(text: string): boolean {
  const lead = /[\xc0-\xff][\x80-\xbf]*$/.exec(text)?.[0] ?? "";
  if (lead === "") return true;
  const first = lead.charCodeAt(0);
  return lead.length >= (first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2);
}
