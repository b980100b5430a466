/**
 * The tokens that are whole plain characters: no JSON string has to write one otherwise. They are most of a vocabulary, and
 * where text runs freely all of them may come: such a state asks once, not for each of them. Knows no grammar.
 */

/** A vocabulary's tree as lists: nodes in the order of a walk that goes down first; node 0 is the root. */
export interface TrieNodes {
  /** The byte that leads to a node. */
  readonly byte: Uint8Array;
  /** Bytes from the root. */
  readonly depth: Uint16Array;
  /** `token_ids[first_token[node]] … [first_token[node + 1]]` are the tokens that end at a node. */
  readonly first_token: Uint32Array;
  readonly token_ids: Uint32Array;
}

export class PlainTokens {
  /** Every other token. */
  readonly others: TrieNodes;
  readonly #bytes: readonly number[];
  /** By how many characters they are. */
  readonly #ids: readonly (readonly number[])[];
  readonly #masks: Uint32Array[] = [];
  readonly #words: number;

  constructor(trie: TrieNodes) {
    this.#bytes = spelledBytes(trie);
    const { characters, is_other } = sorted(trie, new Set(this.#bytes));
    this.others = partOf(trie, is_other);
    this.#ids = characters;
    this.#words = (trie.token_ids.reduce((most, id) => Math.max(most, id), 0) >>> 5) + 1;
  }

  /** Those of at most so many characters; null: of any length. */
  upTo(count: number | null): Uint32Array {
    const most = Math.min(count ?? this.#ids.length - 1, this.#ids.length - 1);
    for (let length = this.#masks.length; length <= most; length++) {
      const mask = this.#masks[length - 1]?.slice() ?? new Uint32Array(this.#words);
      for (const id of this.#ids[length] ?? []) mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
      this.#masks.push(mask);
    }
    return this.#masks[most] ?? new Uint32Array(this.#words);
  }

  /**
   * The states that plain characters lead to from `state`, with it; null when one of their bytes leads nowhere, or when
   * `isFine` is not so of a state and whether a character ends in it. Bytes of one class lead the same way.
   */
  reach(
    state: number,
    classes: Uint8Array,
    step: (state: number, byte: number) => number,
    isFine: (state: number, is_whole: boolean) => boolean,
  ): ReadonlySet<number> | null {
    const states = new Set([state]);
    const pairs = new Set([state * PLACES]);
    const ways = Array.from({ length: PLACES }, (_, place) => this.#ways(place, classes));
    for (const pair of pairs) {
      for (const [byte, next] of ways[pair % PLACES] ?? []) {
        const to = step(Math.floor(pair / PLACES), byte);
        if (to < 0 || !isFine(to, next === WHOLE)) return null;
        if (next === WHOLE) states.add(to);
        pairs.add(to * PLACES + next);
      }
      if (pairs.size > PAIRS_MAX) return null;
    }
    return states;
  }

  /** A byte of each class that goes on from a place, and where to. */
  #ways(place: number, classes: Uint8Array): readonly (readonly [byte: number, next: number])[] {
    const ways = new Map<number, readonly [number, number]>();
    for (const byte of this.#bytes) {
      const next = placeAfter(place, byte);
      if (next >= 0) ways.set((classes[byte] ?? 0) * PLACES + next, [byte, next]);
    }
    return [...ways.values()];
  }
}

// To look at more of them would take longer than to read all tokens.
const PAIRS_MAX = 3000;

/** Bytes that are tokens by themselves: of others no grammar makes use. */
function spelledBytes({ byte, depth, first_token }: TrieNodes): readonly number[] {
  const nodes = Array.from(depth.keys());
  const own = nodes.filter((node) => depth[node] === 1 && (first_token[node + 1] ?? 0) > (first_token[node] ?? 0));
  return own.map((node) => byte[node] ?? 0);
}

/** The plain tokens by their number of characters, and for each node whether another token ends there. */
function sorted({ byte, depth, first_token, token_ids }: TrieNodes, spelled: ReadonlySet<number>) {
  const characters: number[][] = [[]];
  const is_other = new Uint8Array(byte.length);
  const path = [{ place: WHOLE, count: 0 }];
  for (let node = 1; node < byte.length; node++) {
    const at = depth[node] ?? 0;
    const { place: before, count } = path[at - 1] ?? NOT_PLAIN;
    const place = spelled.has(byte[node] ?? 0) ? placeAfter(before, byte[node] ?? 0) : -1;
    const own = { place, count: place === WHOLE ? count + 1 : count };
    path[at] = own;
    const ids = token_ids.subarray(first_token[node], first_token[node + 1]);
    if (place === WHOLE) {
      characters[own.count] ??= [];
      characters[own.count]?.push(...ids);
    } else is_other[node] = Math.min(ids.length, 1);
  }
  return { characters, is_other };
}

const NOT_PLAIN = { place: -1, count: 0 };

function partOf(trie: TrieNodes, wanted: Uint8Array): TrieNodes {
  const { depth, byte, first_token, token_ids } = trie;
  const kept = new Uint8Array(byte.length);
  kept[0] = 1;
  const path = [0];
  for (let node = 1; node < byte.length; node++) {
    path[depth[node] ?? 0] = node;
    if (wanted[node] === 1) for (let at = depth[node] ?? 0; at > 0; at--) kept[path[at] ?? 0] = 1;
  }
  const nodes = Array.from(byte.keys()).filter((node) => kept[node] === 1);
  const ids: number[] = [];
  const firsts = nodes.map((node) => {
    const first = ids.length;
    if (wanted[node] === 1) ids.push(...token_ids.subarray(first_token[node], first_token[node + 1]));
    return first;
  });
  return {
    byte: Uint8Array.from(nodes, (node) => byte[node] ?? 0),
    depth: Uint16Array.from(nodes, (node) => depth[node] ?? 0),
    first_token: Uint32Array.from([...firsts, ids.length]),
    token_ids: Uint32Array.from(ids),
  };
}

/** Where UTF-8 stands: between characters, or before a byte more, of these values; and where that leads to. */
const WHOLE = 0;
const STEPS: readonly (readonly (readonly [low: number, high: number, next: number])[])[] = [
  [
    [0x20, 0x21, WHOLE], // all but a quote
    [0x23, 0x5b, WHOLE], // and a backslash
    [0x5d, 0x7f, WHOLE],
    [0xc2, 0xdf, 1],
    [0xe0, 0xe0, 4],
    [0xe1, 0xec, 2],
    [0xed, 0xed, 5],
    [0xee, 0xef, 2],
    [0xf0, 0xf0, 6],
    [0xf1, 0xf3, 3],
    [0xf4, 0xf4, 7],
  ],
  [[0x80, 0xbf, WHOLE]],
  [[0x80, 0xbf, 1]],
  [[0x80, 0xbf, 2]],
  [[0xa0, 0xbf, 1]],
  [[0x80, 0x9f, 1]],
  [[0x90, 0xbf, 2]],
  [[0x80, 0x8f, 2]],
];
const PLACES = STEPS.length;

/** -1: no plain character goes on so. */
function placeAfter(place: number, byte: number): number {
  const step = STEPS[place]?.find(([low, high]) => low <= byte && byte <= high);
  return step?.[2] ?? -1;
}
