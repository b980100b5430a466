/** The tokens of a vocabulary by their bytes, as a tree in one list. Knows no grammar. */

import type { TokenBytes } from "../core/grammar.ts";
import { PlainTokens, type TrieNodes } from "./plain-tokens.ts";

export class TokenTrie implements TrieNodes {
  readonly byte: Uint8Array;
  readonly depth: Uint16Array;
  readonly first_token: Uint32Array;
  readonly token_ids: Uint32Array;
  /** The first node that is not below. */
  readonly after: Uint32Array;
  readonly depth_max: number;
  #plain: { readonly tokens: PlainTokens; readonly others: TokenTrie } | null = null;

  constructor({ byte, depth, first_token, token_ids }: TrieNodes) {
    this.byte = byte;
    this.depth = depth;
    this.first_token = first_token;
    this.token_ids = token_ids;
    this.depth_max = depth.reduce((most, each) => Math.max(most, each), 0);
    this.after = nextOutside(depth);
  }

  get size(): number {
    return this.byte.length;
  }

  /** Made when it is first asked for: most vocabularies meet no grammar. */
  get plain(): { readonly tokens: PlainTokens; readonly others: TokenTrie } {
    if (this.#plain === null) {
      const tokens = new PlainTokens(this);
      this.#plain = { tokens, others: new TokenTrie(tokens.others) };
    }
    return this.#plain;
  }
}

export function trieOf({ bytes, offsets }: TokenBytes, vocabulary_size: number): TokenTrie {
  const all: { id: number; text: string }[] = [];
  const all_bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = Math.min(offsets.length - 1, vocabulary_size);
  for (let id = 0; id < count; id++) {
    const text = all_bytes.toString("latin1", offsets[id], offsets[id + 1]);
    if (text !== "") all.push({ id, text });
  }
  all.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
  const byte = [0];
  const depth = [0];
  const first_token = [0];
  const token_ids = new Uint32Array(all.length);
  let before = "";
  for (const [place, { id, text }] of all.entries()) {
    let shared = 0;
    while (shared < text.length && text[shared] === before[shared]) shared += 1;
    for (let at = shared; at < text.length; at++) {
      byte.push(text.charCodeAt(at));
      depth.push(at + 1);
      first_token.push(place);
    }
    token_ids[place] = id;
    before = text;
  }
  first_token.push(all.length);
  return new TokenTrie({
    byte: Uint8Array.from(byte),
    depth: Uint16Array.from(depth),
    first_token: Uint32Array.from(first_token),
    token_ids,
  });
}

function nextOutside(depth: Uint16Array): Uint32Array {
  const after = new Uint32Array(depth.length);
  const open: number[] = [];
  for (let node = 0; node < depth.length; node++) {
    while (open.length > (depth[node] ?? 0)) after[open.pop() ?? 0] = node;
    open.push(node);
  }
  for (const node of open) after[node] = depth.length;
  return after;
}
