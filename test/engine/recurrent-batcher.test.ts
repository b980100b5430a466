/** The batcher's rules for rows whose recurrent layers keep a state: it is there only where a part ended, and never taken back. */

import { expect, test } from "bun:test";
import { PRIORITY } from "../../src/core/priority.ts";
import { Batcher } from "../../src/engine/batcher.ts";
import type { BatcherSettings } from "../../src/engine/batcher-settings.ts";
import { NO_TIER } from "../../src/engine/block-store.ts";
import type { Plan } from "../../src/engine/plan.ts";

const NEXT = 7;
const SETTINGS: BatcherSettings = {
  blocks_max: 64,
  cached_blocks_max: 64,
  rows_max: 4,
  decode_gap_ms_target: 100,
  chunk_tokens_max: 256,
  restored_blocks_max: 2,
  draft_tokens_max: 8,
  states: { slots_max: 40, blocks_per_state: 1 },
};

const text = (length: number, seed = 0) => Array.from({ length }, (_, index) => 1000 * seed + index + 100);
const limits = (tokens_max: number) => ({
  tokens_max,
  stop_token_ids: new Set<number>(),
  urgency: { priority: PRIORITY.normal, waited_ms: 0 },
  root: "",
  drafts: true,
  scores_prompt: false,
});

function batcher(settings: Partial<BatcherSettings> = {}): Batcher {
  return new Batcher({ ...SETTINGS, ...settings });
}

/** One step in which every output draws the same token; rows that end leave. */
function step(batcher: Batcher): Plan {
  const plan = batcher.next();
  for (const part of plan.parts) {
    const { finish } = batcher.commit(part, part.outputs === 0 ? [] : [NEXT]);
    if (finish !== null) batcher.leave(part.id);
  }
  batcher.checkIntegrity();
  return plan;
}

const shape = ({ parts }: Plan) => parts.map(({ id, start, token_ids }) => [id, start, token_ids.length]);

/** Reads a prompt whole and answers with one token. */
function answer(rows: Batcher, id: number, prompt: readonly number[]): number[][] {
  rows.join(id, prompt, limits(1), 0);
  const parts: number[][] = [];
  while (rows.counts.active + rows.counts.waiting > 0) parts.push(...shape(step(rows)));
  return parts;
}

test("each part steps from what the one before it left to another slot", () => {
  const rows = batcher({ chunk_tokens_max: 64 });
  rows.join(1, text(100), limits(3), 0);
  const moves = Array.from({ length: 5 }, () => step(rows).parts[0]?.state ?? null);
  expect(moves[0]?.from).toBeNull();
  for (const [index, move] of moves.entries()) {
    if (index > 0) expect(move?.from).toBe(moves[index - 1]?.to ?? null);
    expect(move?.from).not.toBe(move?.to ?? null);
  }
});

test("a prompt is read to the end of its last whole block, whence the same prompt goes on", () => {
  const rows = batcher();
  expect(answer(rows, 1, text(100))).toEqual([
    [1, 0, 96],
    [1, 96, 4],
  ]);
  expect(answer(rows, 2, text(100))).toEqual([[2, 96, 4]]);
  expect(answer(rows, 3, [...text(96), 5, 6])).toEqual([[3, 96, 2]]);
});

test("where texts part for the first time there is no state; for the third there is", () => {
  const rows = batcher();
  const shared = text(75);
  answer(rows, 1, [...shared, ...text(60, 1)]);
  expect(answer(rows, 2, [...shared, ...text(60, 2)])[0]).toEqual([2, 0, 64]);
  expect(answer(rows, 3, [...shared, ...text(60, 3)])[0]?.[1]).toBe(64);
});

test("of rows that come together one reads what they have in common, and the others go on from there", () => {
  const rows = batcher();
  const shared = text(75);
  for (const id of [1, 2, 3]) rows.join(id, [...shared, ...text(60, id)], limits(1), id);
  expect(shape(step(rows))).toEqual([[1, 0, 64]]);
  expect(shape(step(rows))).toEqual([
    [1, 64, 64],
    [2, 64, 64],
    [3, 64, 64],
  ]);
});

test("of the states within an answer one stays for so many blocks, and the newest", () => {
  const rows = batcher({ states: { slots_max: 40, blocks_per_state: 3 } });
  rows.join(1, text(10), limits(400), 0);
  for (let count = 0; count < 10 * 32; count++) step(rows);
  rows.leave(1);
  expect(rows.cachedSlots().length).toBe(4); // behind 3, 6 and 9 blocks, and the newest
  expect(rows.freeSlots.length).toBe(40 - 4);
});

test("nothing is guessed, and no block is copied that was begun by another", () => {
  const rows = batcher();
  answer(rows, 1, text(60));
  rows.join(2, [...text(50), ...text(20, 1)], limits(30), 0);
  for (let count = 0; count < 30; count++) {
    const plan = step(rows);
    expect(plan.copies).toEqual([]);
    for (const part of plan.parts) expect(part.outputs).toBeLessThanOrEqual(1);
  }
});

test("a row that leaves gives its states back, whether it waits, reads or decodes", () => {
  const rows = batcher({ rows_max: 2, chunk_tokens_max: 32 });
  rows.join(1, text(10), limits(50), 0);
  step(rows);
  rows.join(2, text(100, 1), limits(50), 1);
  rows.join(3, text(10, 2), limits(50), 2);
  rows.next(); // planned, and never run
  for (const id of [1, 2, 3]) rows.leave(id);
  rows.checkIntegrity();
  rows.clearCache();
  expect(rows.freeSlots.length).toBe(40);
});

/** Asks a tier that has all for a text of 100 tokens; `decoding`: while another row answers. Gives the pieces asked for by step. */
function fetched(decoding: boolean, losesAt = Number.POSITIVE_INFINITY) {
  const pieces: number[] = [];
  let lost = false;
  const restore = (_: number, __: unknown, piece: number) => {
    lost ||= pieces.length === losesAt;
    if (!lost) pieces.push(piece);
    return !lost;
  };
  const blocks = { ...NO_TIER, has: () => true, restore: () => true };
  const states = { slots_max: 40, blocks_per_state: 5 };
  const rows = new Batcher({ ...SETTINGS, states }, blocks, {
    ...NO_TIER,
    pieces: 3,
    has: () => !lost,
    restore,
  });
  if (decoding) {
    rows.join(1, text(10, 1), limits(50), 0);
    step(rows);
  }
  rows.join(2, text(100), limits(5), 0);
  const steps: unknown[] = [];
  while (steps.length < 9) {
    const parts = shape(step(rows)).filter(([id]) => id === 2);
    steps.push([parts, [...pieces]]);
    if (parts.length > 0) return { rows, steps };
  }
  return { rows, steps };
}

test("while a row decodes a state comes piece by piece, while none does all at once", () => {
  expect(fetched(true).steps).toEqual([
    [[], []], // two blocks, and then one
    [[], [0]],
    [[], [0, 1]],
    [[], [0, 1, 2]],
    [[[2, 96, 4]], [0, 1, 2]],
  ]);
  expect(fetched(false).steps).toEqual([[[[2, 96, 4]], [0, 1, 2]]]);
});

test("a state whose pieces did not all come is given back, and its text computed", () => {
  const { rows, steps } = fetched(true, 2);
  expect(steps.at(-1)).toEqual([[[2, 0, 64]], [0, 1]]);
  for (const id of [1, 2]) rows.leave(id);
  rows.clearCache();
  expect(rows.freeSlots.length).toBe(40);
});

test("what of a prompt is found ends where a state is", () => {
  const rows = batcher({ states: { slots_max: 8, blocks_per_state: 1 } });
  answer(rows, 1, text(100));
  expect(rows.explain(text(70), "")).toEqual({ matched_tokens: 0, departure: null });
  expect(rows.explain(text(100), "")).toEqual({ matched_tokens: 96, departure: null });
});

test("fewer slots than two for each row are refused", () => {
  expect(() => batcher({ states: { slots_max: 7, blocks_per_state: 1 } })).toThrow("each row has a state");
});
