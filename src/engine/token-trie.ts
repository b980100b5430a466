/** The tokens of a vocabulary by their bytes, as a tree in one list. Knows no grammar. */

import type { TokenBytes } from "../core/grammar.ts";

/** Nodes in the order of a walk that goes down first; node 0 is the root. */
export class TokenTrie {
  /** The byte that leads to a node. */
  readonly byte: Uint8Array;
  /** Bytes from the root. */
  readonly depth: Uint16Array;
  /** The first node that is not below. */
  readonly after: Uint32Array;
  /** `token_ids[first_token[node]] … [first_token[node + 1]]` are the tokens that end at a node. */
  readonly first_token: Uint32Array;
  readonly token_ids: Uint32Array;
  readonly depth_max: number;

  constructor({ bytes, offsets }: TokenBytes, vocabulary_size: number) {
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
    this.byte = Uint8Array.from(byte);
    this.depth = Uint16Array.from(depth);
    this.first_token = Uint32Array.from(first_token);
    this.token_ids = token_ids;
    this.depth_max = depth.reduce((most, each) => Math.max(most, each), 0);
    this.after = nextOutside(this.depth);
  }

  get size(): number {
    return this.byte.length;
  }
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
