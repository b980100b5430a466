/** Which tokens are guessed from what a row has seen. */

import { describe, expect, test } from "bun:test";
import { Drafter, lookUp } from "../../src/engine/drafter.ts";
import { Prediction } from "../../src/engine/prediction.ts";

const CIRCLE = [1, 2, 3, 4, 1, 2, 3, 4];
const NEW = [1, 2, 3, 4, 5, 6, 7, 8];

test("what followed the last three tokens before is guessed to follow again", () => {
  expect(lookUp([1, 2, 3, 50, 51, 52, 9, 1, 2, 3], 3)).toEqual([50, 51, 52]);
});

test("the latest occurrence counts, and three equal tokens before two", () => {
  expect(lookUp([1, 2, 3, 40, 1, 2, 3, 50, 8, 1, 2, 3], 1)).toEqual([50]);
  expect(lookUp([1, 2, 3, 40, 9, 2, 3, 50, 8, 1, 2, 3], 1)).toEqual([40]);
  expect(lookUp([7, 2, 3, 50, 8, 1, 2, 3], 1)).toEqual([50]);
});

test("a text that goes in circles is guessed to go on", () => {
  expect(lookUp(CIRCLE, 6)).toEqual([1, 2, 3, 4, 1, 2]);
  expect(lookUp([9, 5, 5, 5, 5], 3)).toEqual([5, 5, 5]);
});

test("a new text gives no guess", () => {
  for (const text of [[], [1], [1, 1], NEW]) expect(lookUp(text, 4)).toEqual([]);
});

test("guesses grow with acceptance and stay within what is asked for", () => {
  const drafter = new Drafter();
  const at_first = drafter.propose(CIRCLE, 100, 0.2).length;
  for (let step = 0; step < 20; step++) drafter.observe(8, 8);
  expect(drafter.propose(CIRCLE, 100, 0.2).length).toBeGreaterThan(at_first);
  expect(drafter.propose(CIRCLE, 100, 0.2).length).toBe(8);
  expect(drafter.propose(CIRCLE, 3, 0.2).length).toBe(3);
  expect(drafter.propose(CIRCLE, 0, 0.2)).toEqual([]);
});

test("guessing stops where it does not pay, is tried again now and then, and goes on once it pays", () => {
  const drafter = new Drafter();
  const tries = (accepted: number) => {
    let count = 0;
    for (let step = 0; step < 1000; step++) {
      const drafted = drafter.propose(CIRCLE, 8, 0.4).length;
      drafter.observe(drafted, Math.min(drafted, accepted));
      if (drafted > 0) count += 1;
    }
    return count;
  };
  expect(tries(0)).toBeLessThan(30);
  expect(tries(0)).toBeGreaterThan(5);
  expect(tries(8)).toBeGreaterThan(900);
});

test("where no share of right guesses would pay, none is made", () => {
  const drafter = new Drafter();
  for (let step = 0; step < 1000; step++) expect(drafter.propose(CIRCLE, 8, 1.1)).toEqual([]);
});

describe("a prediction", () => {
  const TEXT = [10, 11, 12, 13, 14, 15, 16, 17, 18];

  test("is proposed from its beginning, and from where the answer is in it", () => {
    const prediction = new Prediction(TEXT);
    expect(prediction.next([], 2)).toEqual([10, 11]);
    expect(prediction.next([10], 2)).toEqual([11, 12]);
    expect(prediction.next([12, 13, 14], 3)).toEqual([15, 16, 17]);
    expect(prediction.next([99, 11, 12], 9)).toEqual([13, 14, 15, 16, 17, 18]);
    expect(prediction.next([16, 17, 18], 3)).toEqual([]);
    for (const elsewhere of [[9], [11], [9, 11], [13, 12, 11]]) expect(prediction.next(elsewhere, 3)).toEqual([]);
  });

  test("that says a thing twice goes on from the nearer place", () => {
    const prediction = new Prediction([1, 2, 3, 50, 1, 2, 3, 60, 1, 2, 3, 70]);
    const after = () => prediction.next([1, 2, 3], 1);
    expect(after()).toEqual([50]);
    expect(prediction.next([2, 3, 50], 1)).toEqual([1]);
    expect(after()).toEqual([60]);
    expect(prediction.next([3, 70], 1)).toEqual([]);
    expect(after()).toEqual([50]);
  });

  test("that never comes true costs a step nothing that others would feel", () => {
    const prediction = new Prediction(Array.from({ length: 128_000 }, (_, place) => (place * 7919) % 5000));
    const began_ms = performance.now();
    for (let step = 0; step < 200; step++) expect(prediction.next([1, 1, step % 2], 8)).toEqual([]);
    expect(performance.now() - began_ms).toBeLessThan(500);
  });

  test("goes before the row's own text, and counts what came true of it and what did not", () => {
    const drafter = new Drafter(TEXT);
    expect(drafter.propose([...CIRCLE, 10, 11, 12], 2, 0, 3)).toEqual([13, 14]);
    drafter.observe(2, 1);
    expect(drafter.propose(CIRCLE, 2, 0, 8)).toEqual([1, 2]);
    drafter.observe(2, 2);
    expect(drafter.predicted).toEqual({ accepted_tokens: 1, rejected_tokens: 1 });
    expect(new Drafter(TEXT, false).propose(CIRCLE, 2, 0, 8)).toEqual([]);
    expect(new Drafter().predicted).toBeUndefined();
  });
});
