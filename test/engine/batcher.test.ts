/** Which rows step next and with how many tokens, decided in integers. */

import { expect, test } from "bun:test";
import { PRIORITY, type Priority } from "../../src/core/priority.ts";
import { Batcher } from "../../src/engine/batcher.ts";
import type { BatcherSettings } from "../../src/engine/batcher-settings.ts";
import { NO_TIER } from "../../src/engine/block-store.ts";
import type { Part, Plan } from "../../src/engine/plan.ts";
import { integer, seeded } from "../random.ts";

const STOP = 99;
const NEXT = 7; // what every output draws unless a test says otherwise

const text = (length: number, seed = 0) => Array.from({ length }, (_, index) => 1000 * seed + index + 100);
const limits = (tokens_max: number, priority: Priority = PRIORITY.normal) => ({
  tokens_max,
  stop_token_ids: new Set([STOP]),
  urgency: { priority, waited_ms: 0 },
  root: "",
  scores_prompt: false,
  drafts: false,
});

const SETTINGS: BatcherSettings = {
  blocks_max: 64,
  cached_blocks_max: 64,
  rows_max: 16,
  decode_gap_ms_target: 100,
  chunk_tokens_max: 256,
  restored_blocks_max: 2,
  draft_tokens_max: 8,
};

function batcher(settings: Partial<BatcherSettings> = {}): Batcher {
  return new Batcher({ ...SETTINGS, ...settings });
}

/** One step in which every output draws `token`; rows that end leave. */
function step(batcher: Batcher, token = NEXT): Plan {
  const plan = batcher.next();
  for (const part of plan.parts) {
    const { finish } = batcher.commit(part, part.outputs === 0 ? [] : [token]);
    if (finish !== null) batcher.leave(part.id);
  }
  batcher.checkIntegrity();
  return plan;
}

const shape = ({ parts }: Plan) =>
  parts.map(({ id, start, token_ids, outputs }) => [id, start, token_ids.length, outputs]);
const ids = ({ parts }: Plan) => parts.map((part) => part.id);

function onlyPart(plan: Plan): Part {
  const [part] = plan.parts;
  if (part === undefined || plan.parts.length > 1) throw new Error(`${plan.parts.length} parts are planned`);
  return part;
}

test("a prompt goes through in chunks that end with a block, and only the last one draws", () => {
  const rows = batcher({ chunk_tokens_max: 70 });
  rows.join(1, text(100), limits(5), 0);
  expect(onlyPart(step(rows))).toEqual({
    id: 1,
    start: 0,
    token_ids: text(64),
    blocks: [0, 1],
    outputs: 0,
  });
  expect(onlyPart(step(rows))).toEqual({
    id: 1,
    start: 64,
    token_ids: text(100).slice(64),
    blocks: [0, 1, 2, 3],
    outputs: 1,
  });
  expect(onlyPart(step(rows))).toEqual({
    id: 1,
    start: 100,
    token_ids: [NEXT],
    blocks: [0, 1, 2, 3],
    outputs: 1,
  });
});

test("a chunk of less than a block ends in the middle of it, and the next one with it", () => {
  const rows = batcher({ decode_gap_ms_target: 1 });
  rows.join(1, text(10, 1), limits(50), 0);
  step(rows);
  rows.join(2, text(102), limits(5), 0);
  const chunks = Array.from({ length: 4 }, () => {
    const plan = step(rows);
    rows.observe(plan, 1000);
    return shape(plan)[1];
  });
  expect(chunks).toEqual([
    [2, 0, 64, 0],
    [2, 64, 16, 0],
    [2, 80, 16, 0],
    [2, 96, 6, 1],
  ]);
});

test("several short prompts share a chunk", () => {
  const rows = batcher();
  for (const id of [1, 2, 3]) rows.join(id, text(20, id), limits(5), 0);
  expect(shape(step(rows))).toEqual([
    [1, 0, 20, 1],
    [2, 0, 20, 1],
    [3, 0, 20, 1],
  ]);
});

test("running rows step while another's long prompt is read", () => {
  const rows = batcher();
  rows.join(1, text(10), limits(50), 0);
  step(rows);
  rows.join(2, text(200, 1), limits(50), 0);
  expect(shape(step(rows))).toEqual([
    [1, 10, 1, 1],
    [2, 0, 64, 0],
  ]);
});

test("a stop token ends the row and is not reported", () => {
  const rows = batcher();
  rows.join(1, text(3), limits(5), 0);
  expect(rows.commit(onlyPart(rows.next()), [STOP])).toEqual({ token_ids: [], finish: "stop" });
});

test("a row ends by length at exactly its limit", () => {
  const rows = batcher();
  rows.join(1, text(3), limits(2), 0);
  expect(rows.commit(onlyPart(rows.next()), [NEXT])).toEqual({ token_ids: [NEXT], finish: null });
  expect(rows.commit(onlyPart(rows.next()), [8])).toEqual({ token_ids: [8], finish: "length" });
});

test("a row that leaves gives its blocks back at once, whether it waits, reads or decodes", () => {
  const rows = batcher({ rows_max: 2, chunk_tokens_max: 32 });
  rows.join(1, text(10), limits(50), 0);
  step(rows);
  rows.join(2, text(100, 1), limits(50), 1);
  rows.join(3, text(10, 2), limits(50), 2);
  step(rows);
  expect(rows.counts).toEqual({ active: 2, waiting: 1 });
  for (const id of [1, 2, 3, 4]) rows.leave(id);
  rows.checkIntegrity();
  expect(rows.counts).toEqual({ active: 0, waiting: 0 });
  expect(rows.blocks.referenced).toBe(0);
});

test("a row that could never fit is refused with the numbers", () => {
  const rows = batcher({ blocks_max: 4 });
  expect(() => rows.join(1, text(100), limits(30), 0)).toThrow(
    "Cannot start the request: 100 tokens of prompt and up to 30 of answer, the cache holds 128 tokens",
  );
  rows.join(2, text(100), limits(29), 0); // the last one drawn needs no place
});

test("a row alone may use every block", () => {
  const rows = batcher({ blocks_max: 4 });
  rows.join(1, text(100), limits(29), 0);
  for (let count = 0; count < 29; count++) expect(step(rows).parts.length).toBe(1);
  expect(rows.counts).toEqual({ active: 0, waiting: 0 });
});

test("a prompt begun like an earlier one is read from where they part", () => {
  const rows = batcher();
  rows.join(1, text(100), limits(1), 0);
  step(rows);
  rows.join(2, [...text(70), ...text(30, 1)], limits(2), 0);
  expect(shape(step(rows))).toEqual([[2, 64, 36, 1]]);
  expect(rows.cachedTokens(2)).toBe(64);
});

test("an answer is shared too: the next turn does not read it again", () => {
  const rows = batcher();
  rows.join(1, text(60), limits(40), 0);
  for (let count = 0; count < 40; count++) step(rows);
  rows.join(2, [...text(60), ...new Array(40).fill(NEXT)], limits(2), 0);
  step(rows);
  expect(rows.cachedTokens(2)).toBe(96);
});

test("what is cached beyond what may be goes little by little, so that no step waits for all of it", () => {
  const rows = batcher({ cached_blocks_max: 1, restored_blocks_max: 2 });
  rows.join(1, text(6 * 32), limits(1), 0);
  step(rows);
  expect(rows.blocks.cached).toBe(6);
  rows.join(2, text(10, 3), limits(9), 0);
  const cached = [1, 2, 3].map(() => {
    step(rows);
    return rows.blocks.cached;
  });
  expect(cached).toEqual([4, 2, 1]);
});

test("a prompt that departs within a cached block goes on in a copy of it", () => {
  const rows = batcher();
  rows.join(1, text(64), limits(1), 0);
  step(rows);
  expect(rows.counts).toEqual({ active: 0, waiting: 0 });
  rows.join(2, [...text(52), ...text(30, 7)], limits(1), 0);
  const plan = rows.next();
  expect(plan.copies.map(({ from }) => from)).toEqual([1]);
  expect(onlyPart(plan)).toMatchObject({ start: 52, token_ids: text(30, 7) });
});

test("a prompt that is cached to its end computes its last token, in a copy of the last block", () => {
  const rows = batcher();
  rows.join(1, text(64), limits(1), 0);
  step(rows);
  rows.join(2, text(64), limits(2), 0);
  const plan = step(rows);
  expect(plan.copies).toEqual([{ id: 2, from: 1, to: 2 }]);
  expect(onlyPart(plan)).toEqual({
    id: 2,
    start: 63,
    token_ids: text(64).slice(63),
    blocks: [0, 2],
    outputs: 1,
  });
  expect(rows.cachedTokens(2)).toBe(63);
  expect(onlyPart(rows.next()).blocks).toEqual([0, 1, 2]); // the copy held nothing new and was given back
});

test("without room for a copy the last block is computed again", () => {
  const rows = batcher({ blocks_max: 2 });
  for (const id of [1, 2]) {
    rows.join(id, text(64), limits(1), 0);
    const plan = step(rows);
    expect(plan.copies).toEqual([]);
    expect(onlyPart(plan).start).toBe(id === 1 ? 0 : 32);
  }
});

for (const length of [5, 31, 40, 64, 100, 300]) {
  test(`eight equal prompts of ${length} tokens at once are read once`, () => {
    const rows = batcher({ chunk_tokens_max: 64 });
    for (let id = 1; id <= 8; id++) rows.join(id, text(length), limits(50), 0);
    let read = 0;
    for (let count = 0; count < Math.ceil(length / 64) + 2; count++) read += step(rows).extra_tokens;
    expect(read).toBeLessThanOrEqual(length + 7 * 8);
    expect(rows.next().decode_rows).toBe(8);
  });
}

test("a row does not go on from another's block whose beginning differs", () => {
  const rows = batcher();
  rows.join(1, [...text(32, 1), ...text(20)], limits(9), 0);
  step(rows);
  rows.join(2, [...text(32, 2), ...text(20)], limits(9), 0);
  const plan = step(rows);
  expect(plan.copies).toEqual([]);
  expect(shape(plan)[1]).toEqual([2, 0, 52, 1]);
});

test("a row that needs a block takes it from the least urgent one, which later goes on where it was", () => {
  const rows = batcher({ blocks_max: 5 });
  rows.join(1, text(30), limits(90), 0);
  rows.join(2, text(30, 1), limits(60), 1);
  const drawn = new Map<number, number[]>();
  let paused = 0;
  for (let left = 2, count = 0; left > 0; count++) {
    const plan = rows.next();
    if (plan.parts.length < left) paused += 1;
    for (const part of plan.parts) {
      const known = drawn.get(part.id) ?? [];
      expect(part.token_ids.at(-1)).toBe(known.at(-1) ?? text(30, part.id - 1).at(-1));
      expect([part.outputs, rows.drawn(part.id)]).toEqual([1, known.length]);
      const { token_ids, finish } = rows.commit(part, [200 + known.length]);
      drawn.set(part.id, [...known, ...token_ids]);
      if (finish === null) continue;
      rows.leave(part.id);
      left -= 1;
    }
    rows.checkIntegrity();
    expect(count).toBeLessThan(200);
  }
  expect(paused).toBeGreaterThan(0);
  const counted = (length: number) => Array.from({ length }, (_, index) => 200 + index);
  expect(Object.fromEntries(drawn)).toEqual({ 1: counted(90), 2: counted(60) });
});

test("a prompt being read keeps the blocks it was promised from a less urgent row", () => {
  const rows = batcher({ blocks_max: 50, chunk_tokens_max: 32 });
  rows.join(2, text(32, 1), limits(60), 0);
  step(rows);
  rows.join(1, text(48 * 32), limits(2, PRIORITY.high), 1);
  for (let count = 0; count < 32; count++) expect(ids(step(rows))).toEqual([2, 1]); // the block it was left to grow into
  expect(ids(step(rows))).toEqual([1]);
  expect(rows.counts).toEqual({ active: 1, waiting: 1 });
});

test("a row is let in when each running row keeps a block to grow into", () => {
  const rows = batcher({ blocks_max: 4 });
  rows.join(1, text(40), limits(9), 0);
  step(rows);
  rows.join(2, text(40, 1), limits(9), 1);
  expect(ids(step(rows))).toEqual([1]);
  rows.leave(1);
  expect(ids(step(rows))).toEqual([2]);
});

test("rows beyond the most wait, and the next goes in when one leaves", () => {
  const rows = batcher({ rows_max: 2 });
  for (const id of [1, 2, 3]) rows.join(id, text(5, id), limits(2), id);
  expect(ids(step(rows))).toEqual([1, 2]);
  expect(rows.counts).toEqual({ active: 2, waiting: 1 });
  step(rows);
  expect(ids(step(rows))).toEqual([3]);
});

test("LOW goes before NORMAL that came 10 s later and before HIGH that came 20 s later, not a moment sooner", () => {
  const first = (priority: Priority, later_ms: number) => {
    const rows = batcher({ rows_max: 1 });
    rows.join(1, text(5), limits(1, PRIORITY.low), 0);
    rows.join(2, text(5), limits(1, priority), later_ms);
    return ids(step(rows))[0];
  };
  expect([first(PRIORITY.normal, 9_999), first(PRIORITY.normal, 10_000)]).toEqual([2, 1]);
  expect([first(PRIORITY.high, 19_999), first(PRIORITY.high, 20_000)]).toEqual([2, 1]);
});

for (const seed of [1, 2, 3]) {
  test(`the row that starts is the most urgent of those that wait, by priority less 0.1 a second (seed ${seed})`, () => {
    const random = seeded(seed);
    const rows = batcher({ rows_max: 1 });
    const waiting = new Map<number, { readonly priority: Priority; readonly joined_ms: number }>();
    let now_ms = 0;
    let joined = 0;
    let waited_ms_max = 0;
    while (joined < 2000 || waiting.size > 0) {
      now_ms += integer(random, 1, 500);
      // Somewhat more come than one row at a time can serve.
      while (joined < 2000 && random() < 0.4) {
        const priority = ([PRIORITY.high, PRIORITY.normal, PRIORITY.low] as const)[integer(random, 0, 2)] ?? 1;
        waiting.set(++joined, { priority, joined_ms: now_ms });
        rows.join(joined, [1], limits(1, priority), now_ms);
      }
      const urgency = (id: number) => {
        const { priority = 0, joined_ms = 0 } = waiting.get(id) ?? {};
        return Math.round(priority * 10_000 - (now_ms - joined_ms)); // 0.1 a second, in ten-thousandths
      };
      const expected = [...waiting.keys()].sort((left, right) => urgency(left) - urgency(right) || left - right)[0];
      const started = ids(step(rows))[0];
      expect(started).toBe(expected);
      if (started === undefined) continue;
      waited_ms_max = Math.max(waited_ms_max, now_ms - (waiting.get(started)?.joined_ms ?? 0));
      waiting.delete(started);
    }
    expect(waited_ms_max).toBeGreaterThan(1_000);
  });
}

test("drafts are verified together, and rejected ones leave no trace", () => {
  const rows = batcher();
  const circle = [1, 2, 3, 4, 1, 2, 3, 4];
  rows.join(1, circle, { ...limits(40), drafts: true }, 0);
  rows.observe(step(rows, 1), 8);
  rows.observe(step(rows, 2), 8); // a step without drafts tells what one costs
  rows.observe({ parts: [], copies: [], decode_rows: 0, extra_tokens: 100 }, 100);
  const plan = rows.next();
  const part = onlyPart(plan);
  expect(part.token_ids.slice(0, 4)).toEqual([2, 3, 4, 1]);
  expect(part.outputs).toBe(part.token_ids.length);
  expect(plan.extra_tokens).toBe(part.token_ids.length - 1);
  expect(rows.commit(part, [3, 4, 50])).toEqual({ token_ids: [3, 4, 50], finish: null });
  expect(rows.drawn(1)).toBe(5);
  expect(onlyPart(rows.next())).toMatchObject({ start: part.start + 3, token_ids: [50], outputs: 1 });
});

test.each([0, 2])("no more than draft_tokens_max are guessed: %d", (draft_tokens_max) => {
  const rows = batcher({ draft_tokens_max });
  rows.join(1, [1, 2, 3, 4, 1, 2, 3, 4], { ...limits(40), drafts: true }, 0);
  for (const token of [1, 2]) rows.observe(step(rows, token), 1000);
  expect(onlyPart(rows.next()).outputs).toBe(1 + draft_tokens_max);
});

test("an answer ends within drafts: at a stop token, or at its limit", () => {
  const draw = (tokens_max: number, drawn: readonly number[]) => {
    const rows = batcher();
    rows.join(1, [1, 2, 3, 4, 1, 2, 3, 4], { ...limits(tokens_max), drafts: true }, 0);
    for (const token of [1, 2]) rows.observe(step(rows, token), 1000);
    const part = onlyPart(rows.next());
    return { drafts: part.outputs - 1, ...rows.commit(part, drawn.slice(0, part.outputs)) };
  };
  expect(draw(40, [3, STOP, 5])).toMatchObject({ token_ids: [3], finish: "stop" });
  expect(draw(5, [3, 4, 1, 2])).toEqual({ drafts: 2, token_ids: [3, 4, 1], finish: "length" });
});

test("what a tier has kept is not read again, and what it lost is", () => {
  const kept = new Set<string>();
  const tier = {
    ...NO_TIER,
    evicted: (_: number, content: { readonly chain_hash: string }) => kept.add(content.chain_hash),
    restore: (_: number, content: { readonly chain_hash: string }) => kept.delete(content.chain_hash),
  };
  const rows = new Batcher({ ...SETTINGS, blocks_max: 8, rows_max: 2 }, tier);
  const read = (id: number) => {
    rows.join(id, text(100), limits(1), 0);
    const [part] = step(rows).parts;
    rows.clearCache();
    return part?.start;
  };
  expect([read(1), read(2)]).toEqual([0, 96]);
  const [lost = ""] = kept;
  kept.delete(lost); // the chain's last block: contents go from the end
  expect(read(3)).toBe(64);
});

test("while a row decodes a tier fills a few blocks a step, and none of them is computed meanwhile", () => {
  const restored: number[] = [];
  const tier = { ...NO_TIER, restore: (block: number) => restored.push(block) <= 6 };
  const rows = new Batcher(SETTINGS, tier);
  rows.join(1, text(10, 1), limits(50), 0);
  step(rows);
  rows.join(2, text(250), limits(5), 0);
  const steps = Array.from({ length: 4 }, () => [shape(step(rows)).slice(1), restored.length]);
  expect(steps).toEqual([
    [[], 2],
    [[], 4],
    [[], 6],
    [[[2, 192, 58, 1]], 7],
  ]);
});

test("while no row decodes a tier fills all it has at once", () => {
  const rows = new Batcher(SETTINGS, { ...NO_TIER, restore: () => true });
  rows.join(1, text(250), limits(5), 0);
  expect(shape(step(rows))).toEqual([[1, 224, 26, 1]]);
});

test("rows whose prompts are scored have so many logits in a step together as one may have alone", () => {
  const rows = batcher({ chunk_tokens_max: 512 });
  for (const id of [1, 2]) rows.join(id, text(100, id), { ...limits(1), scores_prompt: true }, 0);
  rows.join(3, text(100, 3), limits(1), 0);
  const scored = ({ parts }: Plan) => parts.map((part) => [part.id, part.scored?.token_ids.length ?? 0]);
  expect(scored(step(rows))).toEqual([
    [1, 99],
    [2, 16],
    [3, 0],
  ]);
  expect(scored(step(rows))).toEqual([[2, 83]]);
});
