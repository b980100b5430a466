/** Which texts are read together, for how long, and what becomes of requests that fail or leave. */

import { expect, test } from "bun:test";
import type { EncoderText } from "../../src/core/encoding.ts";
import { ReadingLane, type ReadOutcome } from "../../src/engine/reading-lane.ts";
import type { Pieces, TextReader } from "../../src/engine/text-reader.ts";
import { integer, seeded } from "../random.ts";

const PIECES = 4;
const TOKEN_MS = 0.1;

/** Gives the first token of each text as its number; a piece takes a tenth of a millisecond for each token it fills. */
class Clockwork implements TextReader {
  readonly context_length = 512;
  readonly vocabulary_size = 1000;
  readonly bytes_resident = 0;
  readonly texts_max = 16;
  readonly passes: number[][] = [];
  fails_at: number | null = null;
  now_ms = 0;
  left = 0;

  *read(texts: readonly EncoderText[]): Pieces {
    const lengths = texts.map(({ token_ids }) => token_ids.length);
    this.passes.push(lengths);
    let ended = false;
    try {
      for (let piece = 0; piece < PIECES; piece++) {
        if (texts.some(({ token_ids }) => token_ids[0] === this.fails_at)) throw new Error("no luck");
        this.now_ms += TOKEN_MS * lengths.length * Math.max(...lengths);
        yield;
      }
      ended = true;
      return texts.map(({ token_ids }) => Float32Array.of(token_ids[0] ?? -1));
    } finally {
      if (!ended) this.left += 1;
    }
  }

  [Symbol.dispose](): void {}
}

function text(first: number, length: number): EncoderText {
  return { token_ids: [first, ...Array.from({ length: length - 1 }, () => 0)], second_at: length };
}

function laneOver(reader: Clockwork): ReadingLane {
  return new ReadingLane(reader, () => reader.now_ms);
}

function drain(lane: ReadingLane, others_wait = false, duration_ms = 50): ReadOutcome[] {
  const outcomes: ReadOutcome[] = [];
  for (let turn = 0; lane.jobs > 0 && turn < 10_000; turn++) outcomes.push(...lane.advance(duration_ms, others_wait));
  return outcomes;
}

test.each([1, 2, 3])("every request gets each of its numbers once, in its order (seed %d)", (seed) => {
  const random = seeded(seed);
  const reader = new Clockwork();
  using lane = laneOver(reader);
  const asked = new Map<number, number[]>();
  const outcomes: ReadOutcome[] = [];
  for (let id = 1; id <= 30; id++) {
    const firsts = Array.from({ length: integer(random, 1, 40) }, () => integer(random, 1, 999));
    asked.set(id, firsts);
    lane.add(
      id,
      firsts.map((first) => text(first, integer(random, 1, 300))),
    );
    outcomes.push(...lane.advance(integer(random, 0, 40), random() < 0.5));
  }
  outcomes.push(...drain(lane));
  const found = outcomes.map((outcome) => [
    outcome.id,
    outcome.kind === "read" ? outcome.values.map(([n]) => n) : null,
  ]);
  expect(new Map(found as [number, number[]][])).toEqual(asked);
  expect(found.length).toBe(asked.size);
});

test("a pass has texts of like length, and no more tokens than it may", () => {
  const random = seeded(4);
  const reader = new Clockwork();
  using lane = laneOver(reader);
  for (let id = 1; id <= 10; id++)
    lane.add(
      id,
      Array.from({ length: 50 }, () => text(id, integer(random, 1, 400))),
    );
  drain(lane);
  for (const lengths of reader.passes) {
    const longest = Math.max(...lengths);
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(0.75 * longest);
    expect(lengths.length * longest).toBeLessThanOrEqual(Math.max(1024, longest));
    expect(lengths.length).toBeLessThanOrEqual(reader.texts_max);
  }
  const filled = reader.passes.reduce((sum, lengths) => sum + lengths.length, 0) / reader.passes.length;
  expect(filled).toBeGreaterThan(2);
});

test("while answers wait, a turn takes no longer than it was given, but for a piece of the least pass", () => {
  const reader = new Clockwork();
  using lane = laneOver(reader);
  lane.add(
    1,
    Array.from({ length: 200 }, () => text(1, 20)),
  );
  lane.advance(30, true);
  while (lane.jobs > 0) {
    const began_ms = reader.now_ms;
    lane.advance(30, true);
    expect(reader.now_ms - began_ms).toBeLessThanOrEqual(30);
  }
});

test("a small request does not wait for all of a large one", () => {
  const reader = new Clockwork();
  using lane = laneOver(reader);
  lane.add(
    1,
    Array.from({ length: 500 }, () => text(1, 100)),
  );
  lane.advance(0, false);
  lane.add(2, [text(2, 10)]);
  const [first] = drain(lane, false, 0);
  expect(first?.id).toBe(2);
  expect(reader.passes.length).toBeGreaterThan(40);
});

test("a failure ends the requests of its pass and no other", () => {
  const reader = new Clockwork();
  reader.fails_at = 13;
  using lane = laneOver(reader);
  lane.add(1, [text(1, 100), text(2, 100)]);
  lane.add(2, [text(13, 10), text(3, 200)]);
  lane.add(3, [text(4, 300)]);
  const kinds = drain(lane).map(({ id, kind }) => [id, kind] as const);
  expect(new Map(kinds)).toEqual(
    new Map([
      [1, "read"],
      [2, "failed"],
      [3, "read"],
    ]),
  );
  expect(kinds.length).toBe(3);
});

test("a request that leaves gets nothing; a pass for nobody is given up", () => {
  const reader = new Clockwork();
  using lane = laneOver(reader);
  lane.add(1, [text(1, 100)]);
  lane.advance(0, false);
  lane.remove(1);
  expect([lane.jobs, reader.left]).toEqual([0, 1]);
  lane.add(2, [text(1, 100)]);
  lane.add(3, [text(1, 90)]);
  lane.advance(0, false);
  lane.remove(2);
  lane.remove(7);
  expect(drain(lane).map(({ id }) => id)).toEqual([3]);
  expect(reader.left).toBe(1);
});
