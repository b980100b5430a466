/**
 * Which tokens a row's grammar lets it draw next. Knows bytes and token ids; nothing of logits and where grammars come
 * from.
 */

import { assert } from "../core/assert.ts";
import type { CompiledGrammar, GrammarNode, Terminal } from "../core/grammar.ts";
import { type Reading, TerminalTokens } from "./terminal-tokens.ts";
import type { TokenTrie } from "./token-trie.ts";

/** A grammar on one vocabulary: what is worked out for one row serves all. */
export class TokenGrammar {
  readonly nodes: readonly GrammarNode[];
  readonly root: number;
  readonly terminals: readonly TerminalTokens[];

  /** `known`: terminals of other grammars on the same vocabulary. */
  constructor(
    { nodes, root, terminals }: Omit<CompiledGrammar, "key">,
    trie: TokenTrie,
    known: Map<string, TerminalTokens>,
  ) {
    this.nodes = nodes;
    this.root = root;
    const repeated = new Map<string, TerminalTokens>();
    this.terminals = terminals.map((terminal) => {
      const key = keyOf(terminal);
      const alike = terminal.repeated === null ? "" : `${terminal.key} ${terminal.repeated.close}`;
      const tokens = known.get(key) ?? new TerminalTokens(terminal, trie, repeated.get(alike) ?? null);
      known.set(key, tokens);
      if (alike !== "") repeated.set(alike, tokens);
      return tokens;
    });
  }
}

function keyOf({ key, repeated }: Terminal): string {
  return repeated === null ? key : `${key} ${repeated.min} ${repeated.max} ${repeated.close}`;
}

/** What is left to read behind something: a node, and what comes behind it. `count`: how often a repeated node was begun. */
interface Rest {
  readonly node: number;
  readonly count: number;
  readonly next: number;
}

/** Inside a terminal. */
interface Thread {
  readonly tokens: TerminalTokens;
  readonly state: number;
  readonly next: number;
}

/** Everything the text so far may be. */
interface Place {
  readonly threads: readonly Thread[];
  readonly may_end: boolean;
  readonly by_byte: Map<number, Place>;
}

/** `next` where nothing is left. */
const NOTHING = -1;

/** One row's text so far. */
export class GrammarMatcher {
  readonly #grammar: TokenGrammar;
  readonly #rests: Rest[] = [];
  readonly #rest_places = new Map<string, number>();
  #place: Place;

  constructor(grammar: TokenGrammar) {
    this.#grammar = grammar;
    this.#place = this.#open([this.#rest(grammar.root, 0, NOTHING)], []);
  }

  /** Whether the text may end here. */
  get may_end(): boolean {
    return this.#place.may_end;
  }

  /** Whether it must. */
  get is_complete(): boolean {
    return this.#place.threads.length === 0;
  }

  /** false, and nothing changes: the grammar does not go on so. */
  accept(bytes: Uint8Array): boolean {
    let place = this.#place;
    for (const byte of bytes) {
      place = this.#step(place, byte);
      if (place.threads.length === 0 && !place.may_end) return false;
    }
    this.#place = place;
    return true;
  }

  /** Sets the bit of every token that may come next; clears the others. */
  allow(mask: Uint32Array): void {
    mask.fill(0);
    const behind = new Map<number, Reading[]>();
    for (const { tokens, state, next } of this.#place.threads) {
      const reading = tokens.read(state);
      reading.addTo(mask);
      if (!reading.leaves) continue;
      const readings = behind.get(next) ?? [];
      if (!readings.includes(reading)) readings.push(reading);
      behind.set(next, readings);
    }
    for (const [next, readings] of behind) this.#allowBehind(next, readings, mask);
  }

  /** Tokens that end a terminal and go on with what comes behind it. */
  #allowBehind(next: number, readings: readonly Reading[], mask: Uint32Array): void {
    const place = this.#open([next], []);
    for (const byte of firstBytes(place)) {
      const inside = this.#step(place, byte);
      for (const reading of readings) {
        for (const node of reading.nodesBehind(byte)) this.#walk(reading.trie, node, inside, mask);
      }
    }
  }

  /** Allows the tokens from a node of the trie on, which was reached at `place`. */
  #walk(trie: TokenTrie, node: number, place: Place, mask: Uint32Array): void {
    setBits(mask, trie, node);
    const end = trie.after[node] ?? 0;
    for (let child = node + 1; child < end; child = trie.after[child] ?? end) {
      const inside = this.#step(place, trie.byte[child] ?? 0);
      if (inside.threads.length > 0 || inside.may_end) this.#walk(trie, child, inside, mask);
    }
  }

  #step(place: Place, byte: number): Place {
    const known = place.by_byte.get(byte);
    if (known !== undefined) return known;
    const threads: Thread[] = [];
    const rests: number[] = [];
    for (const { tokens, state, next } of place.threads) {
      const to = tokens.step(state, byte);
      if (to < 0) continue;
      if (tokens.goesOn(to)) threads.push({ tokens, state: to, next });
      if (tokens.accepts(to)) rests.push(next);
    }
    const stepped = this.#open(rests, threads);
    place.by_byte.set(byte, stepped);
    return stepped;
  }

  /** Where reading may go on: inside the threads, and at the beginning of each of the rests. */
  #open(rests: readonly number[], inside: readonly Thread[]): Place {
    const threads = [...inside];
    let may_end = false;
    const seen = new Set(rests);
    const follow = (rest: number) => void seen.add(rest);
    for (const rest of seen) {
      if (rest === NOTHING) may_end = true;
      else this.#unfold(rest, threads, follow);
    }
    return { threads: unique(threads), may_end, by_byte: new Map() };
  }

  #unfold(place: number, threads: Thread[], follow: (rest: number) => void): void {
    const rest = this.#rests[place];
    assert(rest !== undefined, "a rest has a place");
    const node = this.#grammar.nodes[rest.node];
    assert(node !== undefined, "a node has a place");
    switch (node.kind) {
      case "terminal": {
        const tokens = this.#grammar.terminals[node.terminal];
        assert(tokens !== undefined, "a terminal has a place");
        threads.push({ tokens, state: 0, next: rest.next });
        if (tokens.accepts(0)) follow(rest.next);
        break;
      }
      case "sequence":
        follow(node.parts.reduceRight((next, part) => this.#rest(part, 0, next), rest.next));
        break;
      case "choice":
        for (const part of node.parts) follow(this.#rest(part, 0, rest.next));
        break;
      case "repeat": {
        const { count } = rest;
        if (count >= node.min) follow(rest.next);
        if (node.max !== null && count >= node.max) break;
        const begun = node.max === null ? Math.min(count + 1, node.min) : count + 1;
        follow(this.#rest(node.part, 0, this.#rest(rest.node, begun, rest.next)));
      }
    }
  }

  #rest(node: number, count: number, next: number): number {
    const key = `${node} ${count} ${next}`;
    const known = this.#rest_places.get(key);
    if (known !== undefined) return known;
    this.#rest_places.set(key, this.#rests.length);
    return this.#rests.push({ node, count, next }) - 1;
  }
}

function unique(threads: readonly Thread[]): readonly Thread[] {
  if (threads.length < 2) return threads;
  const seen = new Map<TerminalTokens, Set<string>>();
  return threads.filter(({ tokens, state, next }) => {
    const places = seen.get(tokens) ?? new Set();
    seen.set(tokens, places);
    const key = `${state} ${next}`;
    return !places.has(key) && places.add(key);
  });
}

function firstBytes({ threads }: Place): Set<number> {
  const bytes = new Set<number>();
  for (const { tokens, state } of threads) {
    for (let byte = 0; byte < 256; byte++) if (tokens.step(state, byte) >= 0) bytes.add(byte);
  }
  return bytes;
}

function setBits(mask: Uint32Array, trie: TokenTrie, node: number): void {
  const end = trie.first_token[node + 1] ?? 0;
  for (let place = trie.first_token[node] ?? 0; place < end; place++) {
    const id = trie.token_ids[place] ?? 0;
    mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
  }
}
