/** Decides which rows step next and with which tokens. Counts integers; knows nothing of tensors. */

import { assert } from "../core/assert.ts";
import type { FinishReason } from "../core/generation.ts";

/** Tokens of one row that go through the model in this step. */
export interface Part {
  readonly id: number;
  readonly token_ids: readonly number[];
  /** Whether the last position's logits give this row's next token. */
  readonly draws: boolean;
}

export interface RowLimits {
  readonly tokens_max: number;
  readonly stop_token_ids: ReadonlySet<number>;
}

type RowState =
  | { readonly phase: "prefill"; readonly prompt_ids: readonly number[]; readonly done: number }
  | { readonly phase: "decode"; readonly last_token_id: number };

interface Row {
  readonly id: number;
  readonly limits: RowLimits;
  state: RowState;
  drawn: number;
}

export class Batcher {
  readonly #rows = new Map<number, Row>();
  readonly #prefill_chunk: number;

  /** `prefill_chunk`: prompt tokens in one step, so that running rows wait for no more than one chunk. */
  constructor(prefill_chunk: number) {
    this.#prefill_chunk = prefill_chunk;
  }

  get size(): number {
    return this.#rows.size;
  }

  join(id: number, prompt_ids: readonly number[], limits: RowLimits): void {
    assert(!this.#rows.has(id), "a row joins once");
    assert(prompt_ids.length > 0, "a row has a prompt");
    this.#rows.set(id, { id, limits, state: { phase: "prefill", prompt_ids, done: 0 }, drawn: 0 });
  }

  leave(id: number): void {
    this.#rows.delete(id);
  }

  /** Every decoding row by one token, and the oldest prompt by one chunk. */
  next(): Part[] {
    const parts: Part[] = [];
    let prefilling: Part | null = null;
    for (const row of this.#rows.values()) {
      if (row.state.phase === "decode") parts.push({ id: row.id, token_ids: [row.state.last_token_id], draws: true });
      else prefilling ??= this.#chunk(row.id, row.state);
    }
    return prefilling === null ? parts : [...parts, prefilling];
  }

  /** How many tokens the row has drawn. */
  drawn(id: number): number {
    return this.#row(id).drawn;
  }

  /** Books a part that went through; `token_id` is what it drew, null for a part that draws nothing. */
  commit(part: Part, token_id: number | null): { token_ids: readonly number[]; finish: FinishReason | null } {
    const row = this.#row(part.id);
    if (token_id === null) {
      assert(row.state.phase === "prefill", "only a prompt's part draws nothing");
      row.state = { ...row.state, done: row.state.done + part.token_ids.length };
      return { token_ids: [], finish: null };
    }
    row.drawn += 1;
    row.state = { phase: "decode", last_token_id: token_id };
    if (row.limits.stop_token_ids.has(token_id)) return { token_ids: [], finish: "stop" };
    return { token_ids: [token_id], finish: row.drawn >= row.limits.tokens_max ? "length" : null };
  }

  #chunk(id: number, state: RowState & { phase: "prefill" }): Part {
    const end = Math.min(state.done + this.#prefill_chunk, state.prompt_ids.length);
    return { id, token_ids: state.prompt_ids.slice(state.done, end), draws: end === state.prompt_ids.length };
  }

  #row(id: number): Row {
    const row = this.#rows.get(id);
    assert(row !== undefined, "a row that steps has joined and not left");
    return row;
  }
}
