/** Holds a row's draws to its grammar: on its logits before a draw, on its text after it. Knows no sampling. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { CompiledGrammar, TokenBytes } from "../core/grammar.ts";
import { GrammarMatcher, TokenGrammar } from "./grammar.ts";
import type { TerminalTokens } from "./terminal-tokens.ts";
import { type TokenTrie, trieOf } from "./token-trie.ts";

// What is worked out of a grammar may take some MB; the one used longest ago is forgotten.
const GRAMMARS_MAX = 32;

/** The grammars on a model's vocabulary. */
export class ModelGrammars {
  readonly #tokens: TokenBytes;
  readonly #trie: TokenTrie;
  readonly #mask: Uint32Array;
  readonly #grammars = new Map<string, TokenGrammar>();
  #terminals = new Map<string, TerminalTokens>();

  constructor(tokens: TokenBytes, vocabulary_size: number) {
    this.#tokens = tokens;
    this.#trie = trieOf(tokens, vocabulary_size);
    this.#mask = new Uint32Array(Math.ceil(vocabulary_size / 32));
  }

  /** `end_ids`: where the text may end one of them may be drawn, and nowhere else. */
  begin(compiled: CompiledGrammar, end_ids: readonly number[]): RowGrammar {
    const known = this.#grammars.get(compiled.key);
    this.#grammars.delete(compiled.key);
    if (this.#grammars.size >= GRAMMARS_MAX) this.#forgetOne();
    const grammar = known ?? new TokenGrammar(compiled, this.#trie, this.#terminals);
    this.#grammars.set(compiled.key, grammar);
    return new RowGrammar(new GrammarMatcher(grammar), this.#tokens, new Set(end_ids), this.#mask);
  }

  #forgetOne(): void {
    const [oldest] = this.#grammars.keys();
    if (oldest !== undefined) this.#grammars.delete(oldest);
    const used = new Set([...this.#grammars.values()].flatMap(({ terminals }) => terminals));
    this.#terminals = new Map([...this.#terminals].filter(([, terminal]) => used.has(terminal)));
  }
}

export class RowGrammar {
  readonly #matcher: GrammarMatcher;
  readonly #tokens: TokenBytes;
  readonly #end_ids: ReadonlySet<number>;
  /** Other rows use it too, between two draws. */
  readonly #mask: Uint32Array;

  constructor(matcher: GrammarMatcher, tokens: TokenBytes, end_ids: ReadonlySet<number>, mask: Uint32Array) {
    this.#matcher = matcher;
    this.#tokens = tokens;
    this.#end_ids = end_ids;
    this.#mask = mask;
  }

  /** Whether nothing may follow. */
  get is_complete(): boolean {
    return this.#matcher.is_complete;
  }

  /** Leaves only the tokens that may come next. Throws a `Failure` when what else the row wants leaves none. */
  restrict(logits: Float32Array): void {
    const { may_end } = this.#matcher;
    this.#matcher.allow(this.#mask);
    for (const id of this.#end_ids) {
      const bit = 1 << (id & 31);
      const word = this.#mask[id >>> 5] ?? 0;
      this.#mask[id >>> 5] = may_end ? word | bit : word & ~bit;
    }
    let best = Number.NEGATIVE_INFINITY;
    for (let id = 0; id < logits.length; id++) {
      if ((((this.#mask[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 0) logits[id] = Number.NEGATIVE_INFINITY;
      else best = Math.max(best, logits[id] ?? 0);
    }
    if (best !== Number.NEGATIVE_INFINITY) return;
    const state = "the tokens that the answer's form allows are forbidden by other parameters of the request";
    throw new Failure("invalid_request", `Cannot draw a token: ${state}`);
  }

  /** Takes a token that was drawn. */
  accept(id: number): void {
    if (this.#end_ids.has(id)) return;
    const { bytes, offsets } = this.#tokens;
    const accepted = this.#matcher.accept(bytes.subarray(offsets[id] ?? 0, offsets[id + 1] ?? 0));
    assert(accepted, "only tokens of the grammar are drawn");
  }
}
