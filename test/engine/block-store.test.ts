/** Blocks of the cache: who holds them, what is found again, and what is given up first. */

import { expect, test } from "bun:test";
import { type BlockContent, BlockStore, chainHash, NO_TIER } from "../../src/engine/block-store.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";

const tokens = (seed: number) => Array.from({ length: BLOCK_TOKENS }, (_, index) => seed * 1000 + index);
const content = (parent: number | null, seed: number, chain_hash = `${parent}:${seed}`): BlockContent => ({
  parent,
  root: "",
  token_ids: tokens(seed),
  chain_hash,
});

/** A chain of full blocks, published and held. */
function chain(store: BlockStore, seeds: readonly number[]): number[] {
  const blocks: number[] = [];
  let chain_hash = "";
  for (const seed of seeds) {
    chain_hash = chainHash(chain_hash, tokens(seed));
    blocks.push(store.publish(store.take(), content(blocks.at(-1) ?? null, seed, chain_hash)));
  }
  return blocks;
}

function release(store: BlockStore, blocks: readonly number[]): void {
  for (const block of blocks.toReversed()) store.release(block);
}

test("low numbers are taken first, and the one given back last comes next", () => {
  const store = new BlockStore(4);
  expect([store.take(), store.take(), store.take()]).toEqual([0, 1, 2]);
  store.release(0);
  store.release(1);
  expect([store.take(), store.take(), store.take()]).toEqual([1, 0, 3]);
  store.checkIntegrity([[0, 1, 2, 3]]);
});

test("a published block is found by its content until it is evicted", () => {
  const store = new BlockStore(2);
  const [block = -1] = chain(store, [1]);
  release(store, [block]);
  expect(store.counts).toEqual({ free: 1, cached: 1, referenced: 0 });
  const known = content(null, 1, chainHash("", tokens(1)));
  expect(store.find(known)).toBe(block);
  store.clear();
  expect(store.find(known)).toBeNull();
  expect(store.counts).toEqual({ free: 2, cached: 0, referenced: 0 });
});

test("of what nobody holds, only so many blocks are kept, and the end of the oldest text goes first", () => {
  const evicted: number[] = [];
  const store = new BlockStore(8, { ...NO_TIER, evicted: (block) => evicted.push(block) }, 3);
  const old = chain(store, [1, 2]);
  const recent = chain(store, [3, 4]);
  release(store, old);
  release(store, recent);
  store.trim(0);
  expect(store.counts).toEqual({ free: 4, cached: 4, referenced: 0 });
  store.trim(2);
  expect(evicted).toEqual([old[1] ?? -1]);
  expect(store.counts).toEqual({ free: 5, cached: 3, referenced: 0 });
  store.checkIntegrity([]);
});

test("the same tokens after others are another content", () => {
  const store = new BlockStore(4);
  const [first = -1] = chain(store, [1, 2]);
  expect(store.find(content(first, 2, chainHash("", tokens(2))))).toBeNull();
  expect(chainHash("", tokens(2))).not.toBe(chainHash(chainHash("", tokens(1)), tokens(2)));
});

test("the least recently held text is evicted first, each from its end", () => {
  const evicted: number[] = [];
  const store = new BlockStore(4, { ...NO_TIER, evicted: (block) => evicted.push(block) });
  const old = chain(store, [1, 2]);
  const recent = chain(store, [3, 4]);
  release(store, old);
  release(store, recent);
  for (const block of old) store.share(block);
  release(store, old);
  for (let count = 0; count < 4; count++) store.take();
  expect(evicted).toEqual([...recent.toReversed(), ...old.toReversed()]);
});

test("a held block is never evicted", () => {
  const store = new BlockStore(2);
  chain(store, [1, 2]);
  expect(store.available).toBe(0);
  expect(() => store.take()).toThrow("available");
});

test("two that computed the same text keep one copy of it", () => {
  const store = new BlockStore(4);
  const first = chain(store, [1, 2]);
  expect(chain(store, [1, 2])).toEqual(first);
  store.checkIntegrity([first, first]);
  expect(store.counts.referenced).toBe(2);
});

test("hashes that collide never give a block of other tokens, nor what follows them", () => {
  const store = new BlockStore(6);
  const first = store.publish(store.take(), content(null, 1, "same"));
  const next = store.publish(store.take(), content(first, 3, "same next"));
  expect(store.find(content(null, 2, "same"))).toBeNull();
  const other = store.take();
  expect(store.publish(other, content(null, 2, "same"))).toBe(other);
  expect(store.find(content(other, 3, "same next"))).toBeNull();
  const after = store.take();
  expect(store.publish(after, content(other, 3, "another"))).toBe(after);
  expect(store.find(content(other, 3, "another"))).toBeNull();
  store.checkIntegrity([
    [first, next],
    [other, after],
  ]);
  release(store, [other, after]);
  expect(store.counts).toEqual({ free: 4, cached: 0, referenced: 2 });
});

test("a tier is given what is evicted and fills a block with it again", () => {
  const kept = new Map<string, readonly number[]>();
  const store = new BlockStore(1, {
    ...NO_TIER,
    evicted: (_, { chain_hash, token_ids }) => kept.set(chain_hash, token_ids),
    restore: (_, { chain_hash }) => kept.has(chain_hash),
    has: ({ chain_hash }) => kept.has(chain_hash),
  });
  release(store, chain(store, [1]));
  store.clear();
  const known = content(null, 1, chainHash("", tokens(1)));
  expect(kept.get(known.chain_hash)).toEqual(tokens(1));
  expect(store.explain([...tokens(1), 5], "")).toEqual({ matched_tokens: BLOCK_TOKENS, departure: null });
  const block = store.restore(known);
  expect(block).toBe(0);
  expect(store.find(known)).toBe(block);
  store.release(0);
  expect(store.restore(content(null, 2))).toBeNull();
  expect(store.counts).toEqual({ free: 1, cached: 0, referenced: 0 });
});

test("a miss is explained by the first token that differs from the nearest text", () => {
  const store = new BlockStore(8);
  chain(store, [1, 2]);
  chain(store, [1, 3]);
  const prompt = [...tokens(1), ...tokens(3).slice(0, 5), -1, ...tokens(3).slice(6), 7];
  expect(store.explain(prompt, "")).toEqual({
    matched_tokens: BLOCK_TOKENS,
    departure: { position: BLOCK_TOKENS + 5, cached_token_ids: tokens(3) },
  });
  expect(store.explain([...tokens(1), ...tokens(2), 9], "")).toEqual({
    matched_tokens: 2 * BLOCK_TOKENS,
    departure: null,
  });
  expect(store.explain([-1], "")).toEqual({
    matched_tokens: 0,
    departure: { position: 0, cached_token_ids: tokens(1) },
  });
  expect(new BlockStore(1).explain([1], "")).toEqual({ matched_tokens: 0, departure: null });
});

test("integrity sees a table that holds what the store does not know of, and a leak", () => {
  const store = new BlockStore(2);
  const block = store.take();
  store.checkIntegrity([[block]]);
  expect(() => store.checkIntegrity([])).toThrow("references");
  expect(() => store.checkIntegrity([[block], [block]])).toThrow("references");
});
