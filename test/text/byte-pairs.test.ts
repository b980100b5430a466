/** Merging against the rule as it is told: always the first pair of the least rank. */

import { expect, test } from "bun:test";
import { BytePairs } from "../../src/text/byte-pairs.ts";
import { JsonPart } from "../../src/text/json-part.ts";
import { failureOf } from "../formats/scratch.ts";
import { integer, seeded } from "../random.ts";
import { testSeed } from "./random-text.ts";

const ROUNDS = 3000;
const LETTERS = ["a", "b", "c"];

type Merge = readonly [string, string];

function open(merges: readonly unknown[], vocabulary: readonly string[] = LETTERS): BytePairs {
  const vocab = Object.fromEntries(vocabulary.map((text, id) => [text, id]));
  return new BytePairs(new JsonPart({ vocab, merges }, "tokenizer.json", "model"));
}

/** In any order, so that a merge may make a pair that goes before it. */
function randomMerges(below: (end: number) => number): Merge[] {
  const texts = [...LETTERS];
  const merges: Merge[] = [];
  for (let count = 0; count < 8; count++) {
    const [left = "a", right = "a"] = [texts[below(texts.length)], texts[below(texts.length)]];
    texts.push(left + right);
    merges.splice(below(merges.length + 1), 0, [left, right]);
  }
  return merges;
}

function byTheRule(word: string, merges: readonly Merge[]): string[] {
  const symbols = Array.from(word);
  const rankAt = (at: number) =>
    merges.findLastIndex(([left, right]) => left === symbols[at] && right === symbols[at + 1]);
  for (;;) {
    const ranks = symbols.map((_, at) => rankAt(at)).map((rank) => (rank < 0 ? merges.length : rank));
    const least = Math.min(...ranks);
    if (least === merges.length) return symbols;
    const at = ranks.indexOf(least);
    symbols.splice(at, 2, `${symbols[at]}${symbols[at + 1]}`);
  }
}

test("merges in whatever order are applied by the rule", () => {
  const random = seeded(testSeed("merges"));
  const below = (end: number) => integer(random, 0, end - 1);
  for (let round = 0; round < ROUNDS; round++) {
    const merges = randomMerges(below);
    const vocabulary = [...new Set([...LETTERS, ...merges.map((merge) => merge.join(""))])];
    const word = Array.from({ length: 1 + below(24) }, () => LETTERS[below(LETTERS.length)]).join("");
    const written = round % 2 === 0 ? merges : merges.map((merge) => merge.join(" "));
    expect([...open(written, vocabulary).tokens(word)]).toEqual(byTheRule(word, merges));
  }
});

test("tokens with spaces are parts of merges where these are pairs", () => {
  const pairs = open(
    [
      ["a", " "],
      ["a ", "b"],
    ],
    ["a", " ", "b", "a ", "a b"],
  );
  expect([...pairs.tokens("a bb")]).toEqual(["a b", "b"]);
});

test.each([
  ["of three", ["a b c"]],
  ["of one", ["a"]],
  ["of nothing", ["a ", " b"]],
  ["of both forms", ["a b", ["b", "c"]]],
  ["of numbers", [[1, 2]]],
])("merges %s are refused by name", (_name, merges) => {
  expect(failureOf(() => open(merges)).message).toContain("model/merges is");
});
