/** Which tokens a regular language lets through from each of its states, worked out once per state. Knows no grammar. */

import type { Terminal } from "../core/grammar.ts";
import type { TokenTrie } from "./token-trie.ts";

/** What a vocabulary can do inside a terminal, from one of its states. */
export interface Reading {
  /** Whose nodes it names: not all of them have to be looked at. */
  readonly trie: TokenTrie;
  addTo(mask: Uint32Array): void;
  /** Whether some token ends the terminal and goes on behind it. */
  readonly leaves: boolean;
  /** Nodes of the trie that begin with `byte` where the terminal has just ended. */
  nodesBehind(byte: number): Iterable<number>;
}

/** A terminal as it is read fastest. */
interface Automaton extends Omit<Terminal, "classes" | "table" | "accepting"> {
  readonly classes: Uint8Array;
  readonly table: Int32Array;
  readonly accepting: Uint8Array;
}

// Readings of 6 KB and more.
const READINGS_MAX = 1000;

export class TerminalTokens {
  readonly #terminal: Automaton;
  readonly #trie: TokenTrie;
  readonly #states: number;
  readonly #readings: Map<number, Reading>;
  /** For each state that was asked after: whether all plain characters may follow, over and over. */
  readonly #free = new Map<number, boolean>();

  /** `alike`: one that is repeated as this one is, though not as often. */
  constructor(terminal: Terminal, trie: TokenTrie, alike: TerminalTokens | null) {
    this.#readings = alike === null ? new Map() : alike.#readings;
    const { classes, table, accepting } = terminal;
    this.#terminal = {
      ...terminal,
      classes: Uint8Array.from(classes),
      table: Int32Array.from(table),
      accepting: Uint8Array.from(accepting),
    };
    this.#trie = trie;
    this.#states = terminal.accepting.length + 1; // one more: behind the closing byte
  }

  /** The next state, or -1. A state of a repeated language is a state of it and how often it was read. */
  step(state: number, byte: number): number {
    const { classes, class_count, table, accepting, repeated } = this.#terminal;
    if (repeated === null) return table[state * class_count + (classes[byte] ?? 0)] ?? -1;
    const count = Math.floor(state / this.#states);
    const inside = state % this.#states;
    const { min, max, close } = repeated;
    if (inside === 0 && byte === close && count >= min) return this.#states - 1;
    if (inside === this.#states - 1 || (inside === 0 && max !== null && count >= max)) return -1;
    const to = table[inside * class_count + (classes[byte] ?? 0)] ?? -1;
    if (to < 0 || accepting[to] === 0) return to < 0 ? -1 : count * this.#states + to;
    return (max === null ? Math.min(count + 1, min) : count + 1) * this.#states;
  }

  accepts(state: number): boolean {
    const { accepting, repeated } = this.#terminal;
    return repeated === null ? accepting[state] === 1 : state === this.#states - 1;
  }

  /** Whether the language goes on after a state. */
  goesOn(state: number): boolean {
    const { class_count, table, repeated } = this.#terminal;
    if (repeated !== null) return state !== this.#states - 1;
    for (let place = 0; place < class_count; place++) if ((table[state * class_count + place] ?? -1) >= 0) return true;
    return false;
  }

  read(state: number): Reading {
    const like = this.#alike(state);
    const known = this.#readings.get(like);
    if (known !== undefined) return known;
    if (this.#readings.size >= READINGS_MAX) this.#readings.clear();
    const reading = this.#readingAt(state);
    this.#readings.set(like, reading);
    return reading;
  }

  #readingAt(state: number): Reading {
    const { repeated } = this.#terminal;
    const inside = repeated === null ? state : state % this.#states;
    if (!this.#isFree(inside)) return new TokenReading(this, state, this.#trie, null);
    const count = Math.floor(state / this.#states);
    const most = repeated === null || repeated.max === null ? null : repeated.max - count;
    const { tokens, others } = this.#trie.plain;
    return new TokenReading(this, state, others, tokens.upTo(most));
  }

  #isFree(state: number): boolean {
    const known = this.#free.get(state);
    if (known !== undefined) return known;
    const { classes, class_count, table, accepting, repeated } = this.#terminal;
    const step = (from: number, byte: number) => table[from * class_count + (classes[byte] ?? 0)] ?? -1;
    const states = this.#trie.plain.tokens.reach(
      state,
      classes,
      (from, byte) => (repeated !== null && accepting[from] === 1 ? step(0, byte) : step(from, byte)),
      (to, is_whole) => (accepting[to] === 1) === (repeated !== null && is_whole),
    );
    const is_free = states !== null && (repeated === null || state === 0);
    for (const each of repeated === null ? (states ?? []) : []) this.#free.set(each, true);
    this.#free.set(state, is_free);
    return is_free;
  }

  /** A state that no token can tell from this one: counts are far from their ends. */
  #alike(state: number): number {
    const { repeated } = this.#terminal;
    if (repeated === null) return state;
    const count = Math.floor(state / this.#states);
    const far = this.#trie.depth_max + 1;
    const to_min = Math.min(far, Math.max(0, repeated.min - count));
    const to_max = repeated.max === null ? far : Math.min(far, repeated.max - count);
    return (to_min * (far + 1) + to_max) * this.#states + (state % this.#states);
  }
}

class TokenReading implements Reading {
  readonly trie: TokenTrie;
  readonly #token_ids: Uint32Array;
  readonly #mask: Uint32Array | null;
  readonly #behind = new Map<number, number[]>();

  /** `others`: the tokens that may come and are not in the trie. */
  constructor(tokens: TerminalTokens, state: number, trie: TokenTrie, others: Uint32Array | null) {
    this.trie = trie;
    const token_ids: number[] = [];
    const states = new Int32Array(trie.depth_max + 1);
    states[0] = state;
    for (let node = 1; node < trie.size; ) {
      const depth = trie.depth[node] ?? 0;
      const to = tokens.step(states[depth - 1] ?? -1, trie.byte[node] ?? 0);
      if (to < 0) {
        node = trie.after[node] ?? trie.size;
        continue;
      }
      states[depth] = to;
      addTokens(trie, node, token_ids);
      if (tokens.accepts(to)) this.#leave(node, trie);
      node += 1;
    }
    this.#token_ids = Uint32Array.from(token_ids);
    const is_sparse = others === null && token_ids.length < SPARSE_MAX;
    this.#mask = is_sparse ? null : maskOf(this.#token_ids, others);
  }

  get leaves(): boolean {
    return this.#behind.size > 0;
  }

  nodesBehind(byte: number): Iterable<number> {
    return this.#behind.get(byte) ?? [];
  }

  addTo(mask: Uint32Array): void {
    if (this.#mask === null) addBits(mask, this.#token_ids);
    else for (let word = 0; word < this.#mask.length; word++) mask[word] = (mask[word] ?? 0) | (this.#mask[word] ?? 0);
  }

  #leave(node: number, trie: TokenTrie): void {
    const end = trie.after[node] ?? 0;
    for (let child = node + 1; child < end; child = trie.after[child] ?? end) {
      const byte = trie.byte[child] ?? 0;
      const nodes = this.#behind.get(byte) ?? [];
      nodes.push(child);
      this.#behind.set(byte, nodes);
    }
  }
}

function addTokens({ first_token, token_ids }: TokenTrie, node: number, to: number[]): void {
  const end = first_token[node + 1] ?? 0;
  for (let place = first_token[node] ?? 0; place < end; place++) to.push(token_ids[place] ?? 0);
}

// Fewer are added one by one.
const SPARSE_MAX = 1000;

function maskOf(token_ids: Uint32Array, others: Uint32Array | null): Uint32Array {
  const most = token_ids.reduce((highest, id) => Math.max(highest, id), 0);
  const mask = new Uint32Array(Math.max(others?.length ?? 0, (most >>> 5) + 1));
  if (others !== null) mask.set(others);
  addBits(mask, token_ids);
  return mask;
}

function addBits(mask: Uint32Array, token_ids: Uint32Array): void {
  for (const id of token_ids) mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
}
