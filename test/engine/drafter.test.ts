/** Which tokens are guessed from what a row has seen. */

import { expect, test } from "bun:test";
import { Drafter, lookUp } from "../../src/engine/drafter.ts";

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
