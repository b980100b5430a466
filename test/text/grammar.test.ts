/** Expressions, choices and GBNF as grammars, through their compiler and the engine's matcher. */

import { describe, expect, test } from "bun:test";
import type { Constraint } from "../../src/core/grammar.ts";
import { GrammarMatcher, TokenGrammar } from "../../src/engine/grammar.ts";
import { trieOf } from "../../src/engine/token-trie.ts";
import { compileGrammar } from "../../src/text/grammar/compile.ts";
import { integer, seeded } from "../random.ts";

const ALL_BYTES = new Set(Array.from({ length: 256 }, (_, byte) => byte));
const TRIE = trieOf(
  { bytes: Uint8Array.from(ALL_BYTES), offsets: Uint32Array.from({ length: 257 }, (_, id) => id) },
  256,
);

function follows(constraint: Constraint, text: string): boolean {
  const matcher = new GrammarMatcher(new TokenGrammar(compileGrammar(constraint, ALL_BYTES), TRIE, new Map()));
  return matcher.accept(Buffer.from(text)) && matcher.may_end;
}

/** No text at all is refused: nothing follows it. */
function matches(source: string, text: string): boolean {
  try {
    return follows(regex(source), text);
  } catch (error) {
    expect(String(error)).toContain("no text that it allows");
    return false;
  }
}

const regex = (expression: string): Constraint => ({ kind: "regex", parameter: "guided_regex", expression });
const gbnf = (source: string): Constraint => ({ kind: "grammar", parameter: "guided_grammar", source });

test("an expression matches what the runtime's own matches", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = seeded(seed);
  const atoms = [
    "a",
    "b",
    "[ab]",
    "[^a]",
    "\\d",
    "\\w",
    ".",
    "é",
    "\\u00e9",
    "(?:ab|b)",
    "(a|)",
    "\\s",
    "[a-c-]",
    "^",
    "$",
  ];
  const signs = ["", "", "*", "+", "?", "{2}", "{1,3}", "{0,}", "*?"];
  const pick = (list: readonly string[]) => list[integer(random, 0, list.length - 1)] ?? "";
  for (let round = 0; round < 150; round++) {
    const atom = () => {
      const one = pick(atoms);
      return one === "^" || one === "$" ? one : one + pick(signs);
    };
    const source = Array.from({ length: integer(random, 1, 4) }, atom).join("") + (random() < 0.2 ? `|${atom()}` : "");
    const own = new RegExp(`^(?:${source})$`, "u");
    for (let text = 0; text < 10; text++) {
      const words = Array.from({ length: integer(random, 0, 5) }, () =>
        pick(["a", "b", "c", "é", "1", " ", "-", "\n"]),
      ).join("");
      expect(matches(source, words), `seed ${seed}: /${source}/ on ${JSON.stringify(words)}`).toBe(own.test(words));
    }
  }
}, 30_000);

test("a property of Unicode has the characters that it has", () => {
  expect(matches("\\p{Lu}\\P{L}*", "Éa")).toBe(false);
  expect(matches("\\p{Lu}\\P{L}*", "É1")).toBe(true);
  expect(matches("\\p{Script=Greek}+", "αβγ")).toBe(true);
  expect(matches("\\p{Emoji_Presentation}", "😀")).toBe(true);
});

test.each(["(?=a)", "a\\b", "(a)\\1", "(a", "a{3,2}", "*", "\\p{Nonsense}", "[b-a]"])(
  "the expression %s is refused",
  (source) => {
    expect(() => compileGrammar(regex(source), ALL_BYTES)).toThrow("Cannot enforce the expression");
  },
);

test("an expression of more states than may be is refused", () => {
  expect(() => compileGrammar(regex("(?:a|b)*a(?:a|b){30}"), ALL_BYTES)).toThrow("too large");
}, 30_000);

describe("a grammar in GBNF", () => {
  const LIST = `
    # a list of lists
    root  ::= "[" items? "]"
    items ::= item ("," ws item)*
    item  ::= [a-z]+ | "\\"" [^"\\x0a]* "\\"" | root
    ws    ::= " "{0,2}
  `;
  test.each([
    ["[]", true],
    ["[a]", true],
    ['[ab,  [c, "d e"],[]]', true],
    ["[a,]", false],
    ["[a", false],
    ["[a,   b]", false],
  ])("%s: %p", (text, follows_it) => {
    expect(follows(gbnf(LIST), text)).toBe(follows_it);
  });

  test.each([
    ["root ::= root 'a'", 'the rule "root" begins with itself'],
    ["root ::= a", 'it has no rule "a"'],
    ["a ::= 'b'", 'it has no rule "root"'],
    ["root ::= 'a' root", "no text"],
    ["root ::= (", "line 1"],
  ])("%s is refused", (source, state) => {
    expect(() => compileGrammar(gbnf(source), ALL_BYTES)).toThrow(state);
  });
});
