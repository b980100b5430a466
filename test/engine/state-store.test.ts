/** Slots with states of recurrent layers: what is found again, and what is given up first. */

import { expect, test } from "bun:test";
import { type BlockContent, chainHash, NO_TIER } from "../../src/engine/block-store.ts";
import { StateStore } from "../../src/engine/state-store.ts";

const content = (name: string): BlockContent => ({
  parent: null,
  root: "",
  token_ids: [],
  chain_hash: chainHash(name, []),
});
const [A, B, C] = ["a", "b", "c"].map(content) as [BlockContent, BlockContent, BlockContent];
const published = () => true;

test("a kept state is found until its slot is needed, the least recently used first", () => {
  const store = new StateStore(3, 1, NO_TIER);
  for (const each of [A, B, C]) {
    const slot = store.take();
    expect(store.keep(each, slot)).toBe(true);
    store.release(slot);
  }
  expect(store.counts).toEqual({ free: 0, kept: 3 });
  const held = store.hold(A);
  store.release(held ?? -1);
  store.take();
  expect([A, B, C].map((each) => store.has(each))).toEqual([true, false, true]);
});

test("a state that rows hold is not given up, and one they left is free when nobody keeps it", () => {
  const store = new StateStore(2, 1, NO_TIER);
  const slot = store.take();
  store.keep(A, slot);
  expect(store.hold(A)).toBe(slot);
  const other = store.take();
  expect(() => store.take()).toThrow("rows hold no more states than there are slots for");
  store.checkIntegrity([slot, slot, other], published);
  store.evict(A);
  expect(store.counts).toEqual({ free: 0, kept: 0 });
  for (const each of [slot, slot, other]) store.release(each);
  expect(store.counts).toEqual({ free: 2, kept: 0 });
});

test("what one has gone on from stays, what nobody has is dropped", () => {
  const store = new StateStore(4, 1, NO_TIER);
  const slots = [A, B].map((each) => {
    const slot = store.take();
    store.keep(each, slot);
    return slot;
  });
  store.release(store.hold(A) ?? -1);
  for (const each of [A, B]) store.dropUnused(each);
  expect([A, B].map((each) => store.has(each))).toEqual([true, false]);
  store.checkIntegrity(slots, published);
});

test("a tier is given what is evicted, and fills a slot with it again", () => {
  const kept = new Set<string>();
  const pieces: number[] = [];
  const store = new StateStore(1, 1, {
    ...NO_TIER,
    pieces: 2,
    evicted: (_, { chain_hash }) => kept.add(chain_hash),
    restore: (_, { chain_hash }, piece) => kept.has(chain_hash) && pieces.push(piece) > 0,
    has: ({ chain_hash }) => kept.has(chain_hash),
  });
  const slot = store.take();
  store.keep(A, slot);
  store.release(slot);
  expect(store.take()).toBe(slot);
  store.release(slot);
  expect(store.has(A)).toBe(true);
  expect(store.hold(A)).toBeNull();
  const begun = store.restore(A, null);
  expect(begun).toEqual({ slot, content: A, pieces: 1, is_whole: false });
  expect(store.cached()).toEqual([]);
  expect(store.restore(A, begun)).toEqual({ slot, content: A, pieces: 2, is_whole: true });
  expect(pieces).toEqual([0, 1]);
  expect(store.cached()).toEqual([{ block: slot, content: A }]);
  store.release(slot);
  expect(store.restore(B, null)).toBeNull();
});

test("integrity sees a row's slot that the store does not know of, a leak, and a state without its block", () => {
  const store = new StateStore(2, 1, NO_TIER);
  const slot = store.take();
  store.checkIntegrity([slot], published);
  expect(() => store.checkIntegrity([], published)).toThrow("holders");
  expect(() => store.checkIntegrity([slot, slot], published)).toThrow("holders");
  store.keep(A, slot);
  expect(() => store.checkIntegrity([slot], () => false)).toThrow("is published");
});

test("while no slot is free the tier takes a piece of the state that goes next, which no row holds", () => {
  const prepared: number[] = [];
  const store = new StateStore(2, 1, { ...NO_TIER, prepare: (slot) => prepared.push(slot) });
  const [first, second] = [store.take(), store.take()];
  store.keep(A, first);
  store.keep(B, second);
  store.prepare();
  expect(prepared).toEqual([]);
  store.release(second);
  store.release(first);
  store.prepare();
  store.prepare();
  expect(prepared).toEqual([first, first]);
  expect(store.take()).toBe(first);
  store.prepare();
  expect(prepared).toEqual([first, first, second]);
  store.evict(B);
  store.prepare();
  expect(prepared).toHaveLength(3);
});
