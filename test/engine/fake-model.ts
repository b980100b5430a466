/**
 * A model of integers: what it stores for a position depends on all tokens before it, read through the block table,
 * as keys and values do. A row that is given a wrong or stale block therefore computes something else than it would alone.
 */

import { expect } from "bun:test";
import type { BlockContent, BlockTier } from "../../src/engine/block-store.ts";
import type { Part, Plan } from "../../src/engine/plan.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";

export const STOP = 63;
const VOCABULARY = 64;

/** What the model stores for a token after a position whose store is `before`. */
function mix(before: number, token: number): number {
  const product = Math.imul(before ^ (token + 0x9e3779b9), 0x85ebca6b);
  return (product ^ (product >>> 13)) >>> 0;
}

/** Small tokens run in circles, so that guessing pays; the others look random. */
function nextToken(stored: number, token: number): number {
  return token < 16 && stored % 24 !== 0 ? (token + 5) % 16 : (stored >>> 8) % VOCABULARY;
}

/** The answer to a prompt by the model alone. */
export function answer(prompt_ids: readonly number[], tokens_max: number): number[] {
  const drawn: number[] = [];
  let stored = prompt_ids.reduce(mix, 0);
  let token = nextToken(stored, prompt_ids.at(-1) ?? 0);
  while (token !== STOP && drawn.length < tokens_max) {
    drawn.push(token);
    stored = mix(stored, token);
    token = nextToken(stored, token);
  }
  return drawn;
}

type Pool = Map<number, number[]>;

export class FakeModel {
  readonly #pool: Pool = new Map();
  /** Of a layer that sees a window. */
  readonly #slots: Pool = new Map();
  /** What a recurrent layer keeps of all tokens before a place. */
  readonly #states: Pool = new Map();
  readonly #window: number;
  readonly seen = { computed_tokens: 0, evicted: 0, restored: 0 };

  /** `window`: positions that parts with slots see in these. */
  constructor(window = 0) {
    this.#window = window;
  }

  /** A tier whose files are sometimes damaged or gone. */
  tier(isLost: () => boolean): BlockTier {
    return this.#tierOf(this.#pool, isLost);
  }

  slotTier(isLost: () => boolean): BlockTier {
    return this.#tierOf(this.#slots, isLost);
  }

  stateTier(isLost: () => boolean): BlockTier {
    return this.#tierOf(this.#states, isLost, 3);
  }

  /** Of the pieces the last one brings all. */
  #tierOf(pool: Pool, isLost: () => boolean, pieces = 1): BlockTier {
    const disk = new Map<string, number[]>();
    return {
      pieces,
      evicted: (block: number, { chain_hash }: BlockContent) => {
        this.seen.evicted += 1;
        disk.set(chain_hash, [...(pool.get(block) ?? [])]);
        for (const oldest of disk.keys()) if (disk.size > 500) disk.delete(oldest);
      },
      prepare: () => {},
      restore: (block: number, { chain_hash }: BlockContent, piece) => {
        const kept = disk.get(chain_hash);
        if (kept === undefined) return false;
        if (isLost()) return !disk.delete(chain_hash);
        if (piece < pieces - 1) return true;
        this.seen.restored += 1;
        pool.set(block, [...kept]);
        return true;
      },
      has: ({ chain_hash }: BlockContent) => disk.has(chain_hash),
    };
  }

  /** All are read before any is written, as one operation over the whole pool does it. */
  copy({ copies }: Plan): void {
    copyIn(this.#pool, copies);
    copyIn(
      this.#slots,
      copies.flatMap(({ slots }) => slots ?? []),
    );
  }

  /** What a part draws: the drafts that are right, and one token more. */
  forward({ token_ids, start, blocks, slots, outputs, state }: Part, history: readonly number[]): number[] {
    this.seen.computed_tokens += token_ids.length;
    let stored = read(this.#pool, history, start, blocks, 0);
    if (slots !== undefined) read(this.#slots, history, start, slots, start + 1 - this.#window);
    if (state !== undefined) expect([stored]).toEqual(state.from === null ? [0] : (this.#states.get(state.from) ?? []));
    const nexts: number[] = [];
    for (const [index, token] of token_ids.entries()) {
      stored = mix(stored, token);
      const position = start + index;
      write(this.#pool, blocks, position, stored);
      if (slots !== undefined) write(this.#slots, slots, position, stored);
      nexts.push(nextToken(stored, token));
    }
    if (state !== undefined) this.#states.set(state.to, [stored]);
    if (outputs === 0) return [];
    const drafts = token_ids.slice(token_ids.length - outputs + 1);
    const drawn = nexts.slice(-outputs);
    const wrong = drafts.findIndex((draft, index) => draft !== drawn[index]);
    return wrong < 0 ? drawn : drawn.slice(0, wrong + 1);
  }
}

function copyIn(pool: Pool, copies: readonly { readonly from: number; readonly to: number }[]): void {
  const read = copies.map(({ from, to }) => ({ to, values: [...(pool.get(from) ?? [])] }));
  for (const { to, values } of read) pool.set(to, values);
}

function write(pool: Pool, blocks: readonly number[], position: number, stored: number): void {
  const block = blocks[Math.floor(position / BLOCK_TOKENS)] ?? -1;
  const values = pool.get(block) ?? new Array(BLOCK_TOKENS).fill(-1);
  values[position % BLOCK_TOKENS] = stored;
  pool.set(block, values);
}

/** All that the row would attend to before `start`, and from `first` on; it must be what its own tokens make. */
function read(pool: Pool, history: readonly number[], start: number, blocks: readonly number[], first: number): number {
  let stored = 0;
  for (let position = 0; position < start; position++) {
    stored = mix(stored, history[position] ?? -1);
    if (position < first) continue;
    const found = pool.get(blocks[Math.floor(position / BLOCK_TOKENS)] ?? -1)?.[position % BLOCK_TOKENS];
    if (found !== stored) expect({ position, found }).toEqual({ position, found: stored });
  }
  return stored;
}
