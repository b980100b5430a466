/** JSON Schemas as grammars: each is refused by a keyword's name, or its grammar agrees with every instance there is. */

import { describe, expect, test } from "bun:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { Failure } from "../../src/core/failure.ts";
import type { CompiledGrammar, TokenBytes } from "../../src/core/grammar.ts";
import { GrammarMatcher, TokenGrammar } from "../../src/engine/grammar.ts";
import { trieOf } from "../../src/engine/token-trie.ts";
import { compileGrammar } from "../../src/text/grammar/compile.ts";
import { LoadedText } from "../../src/text/model.ts";
import { seeded } from "../random.ts";
import { defaultModel } from "./default-model.ts";
import { listedNames, type SchemaCase, sampleCases, suiteCases, writings } from "./schema-cases.ts";

const ALL_BYTES = new Set(Array.from({ length: 256 }, (_, byte) => byte));
const BYTES: TokenBytes = {
  bytes: Uint8Array.from(ALL_BYTES),
  offsets: Uint32Array.from({ length: 257 }, (_, id) => id),
};
const BYTE_TRIE = trieOf(BYTES, 256);

// Numbers are written without an exponent, with at most 30 digits.
const NUMBER_MAX = 1e30;

function compiled(schema: unknown, alphabet: ReadonlySet<number> = ALL_BYTES): CompiledGrammar | Failure {
  try {
    return compileGrammar({ kind: "json_schema", parameter: "schema", schema }, alphabet);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

function accepts(grammar: TokenGrammar, text: string): boolean {
  const matcher = new GrammarMatcher(grammar);
  return matcher.accept(Buffer.from(text)) && matcher.may_end;
}

/** Instances that the grammar judges wrongly. */
function misjudged({ name, schema, instances }: SchemaCase, grammar: CompiledGrammar): unknown[] {
  const read = new TokenGrammar(grammar, BYTE_TRIE, new Map());
  const is_format = /^(optional\/)?format\//.test(name) || name.startsWith("format.json");
  return instances.flatMap(({ data, valid }) => {
    if (typeof data === "number" && Math.abs(data) > NUMBER_MAX) return [];
    // A format's rare forms are left out, and by default the standard takes formats for remarks.
    if (is_format && valid) return [];
    const accepted = [...writings(data, schema)].some((text) => accepts(read, text));
    const is_left_out = valid && !accepted && (name === OF_BOTH || hasUnlisted(data, new Set(listedNames(schema))));
    return accepted === valid || is_left_out ? [] : [{ name, data, valid }];
  });
}

/** An object of two alternatives at once: neither lists the keys of the other. */
const OF_BOTH = "anyOf.json: anyOf complex types";

/** Keys that a schema with a list of names says nothing of are let through and not written. */
function hasUnlisted(data: unknown, listed: ReadonlySet<string>): boolean {
  if (typeof data !== "object" || data === null) return false;
  const is_own = !Array.isArray(data) && listed.size > 0 && Object.keys(data).some((key) => !listed.has(key));
  return is_own || Object.values(data).some((value) => hasUnlisted(value, listed));
}

test("of keys that are not named those are written that the schema speaks of, or that it takes", () => {
  const properties = { a: { type: "number" } };
  const cases: readonly (readonly [unknown, string, boolean])[] = [
    [{ properties }, '{"a":1}', true],
    [{ properties }, '{"a":1,"b":2}', false],
    [{ type: "object", properties: {} }, '{"b":2}', false],
    [{ type: "object" }, '{"b":2}', true],
    [{ properties, additionalProperties: true }, '{"a":1,"b":2}', true],
    [{ properties, patternProperties: { "^x": { type: "string" } } }, '{"a":1,"x1":""}', true],
    [{ properties, patternProperties: { "^x": { type: "string" } } }, '{"a":1,"y":""}', false],
    [{ properties, minProperties: 2 }, '{"a":1,"b":2}', true],
    [{ properties, required: ["b"] }, '{"b":2}', true],
    [{ allOf: [{ properties }, { properties: { b: {} } }] }, '{"a":1,"b":2}', true],
    [{ properties: { a: false } }, '{"b":2}', true],
  ];
  for (const [schema, text, is_accepted] of cases) {
    const grammar = compiled(schema);
    if (grammar instanceof Failure) throw grammar;
    const read = new TokenGrammar(grammar, BYTE_TRIE, new Map());
    expect([schema, text, accepts(read, text)]).toEqual([schema, text, is_accepted]);
  }
});

/** Compiling them all takes a quarter of a minute: each run has its share, and says which. */
const SHARES = 3;
const SEED = Math.floor(Math.random() * 2 ** 31);

function shareOf(cases: readonly SchemaCase[], shares: number): readonly SchemaCase[] {
  return cases.filter((_, place) => place % shares === SEED % shares);
}

describe.each([
  ["the sample", sampleCases, 17],
  ["the JSON Schema test suite", suiteCases, 90],
] as const)("%s", (_, cases, enforced_min) => {
  test("every schema is enforced or refused by name", () => {
    const results = shareOf(cases(), SHARES).map((each) => ({ each, grammar: compiled(each.schema) }));
    const refused = results.flatMap(({ grammar }) => (grammar instanceof Failure ? [grammar] : []));
    for (const { message } of refused) {
      expect(message).toMatch(/"\$?\w+" at (its root|\/)|no value that the model|too large|"(contains|minProperties)"/);
    }
    const wrong = results.flatMap(({ each, grammar }) => (grammar instanceof Failure ? [] : misjudged(each, grammar)));
    expect({ seed: SEED, wrong }).toEqual({ seed: SEED, wrong: [] });
    expect(results.length - refused.length).toBeGreaterThanOrEqual(enforced_min);
  }, 120_000);
});

describe("random walks over the default model's tokens", () => {
  const { vocabulary } = new LoadedText(defaultModel()).describe();
  const size = vocabulary.offsets.length - 1;
  const trie = trieOf(vocabulary, size);
  const bytesOf = (id: number) => vocabulary.bytes.subarray(vocabulary.offsets[id], vocabulary.offsets[id + 1]);
  const ids = Array.from({ length: size }, (_, id) => id);
  const alphabet = new Set(ids.flatMap((id) => (bytesOf(id).length === 1 ? [...bytesOf(id)] : [])));
  const closing = ids.filter((id) => /^["\]},]+$/.test(Buffer.from(bytesOf(id)).toString("latin1")));
  const mask = new Uint32Array(Math.ceil(size / 32));
  const isAllowed = (id: number) => (((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 1;

  /** A text that ended, or null when it had to be cut. Closing tokens come often, so that most end. */
  function walk(grammar: TokenGrammar, random: () => number): string | null {
    const matcher = new GrammarMatcher(grammar);
    const drawn: Uint8Array[] = [];
    while (drawn.length < 150) {
      if (matcher.is_complete || (matcher.may_end && random() < 0.1)) return Buffer.concat(drawn).toString();
      matcher.allow(mask);
      const ends = random() < 0.5 ? closing.filter(isAllowed) : [];
      const first = Math.floor(random() * size);
      const any = ids.findIndex((_, place) => isAllowed((first + place) % size));
      expect(any, "a text that has not ended goes on").toBeGreaterThanOrEqual(0);
      const id = ends[Math.floor(random() * ends.length)] ?? (first + any) % size;
      drawn.push(bytesOf(id));
      expect(matcher.accept(bytesOf(id)), "an allowed token is accepted").toBe(true);
    }
    return null;
  }

  test("what ends satisfies its schema", () => {
    const random = seeded(SEED);
    let ended = 0;
    for (const { name, schema } of [...shareOf(sampleCases(), SHARES), ...shareOf(suiteCases(), 4 * SHARES)]) {
      const grammar = compiled(schema, alphabet);
      const validate = validator(schema);
      if (grammar instanceof Failure || validate === null) continue;
      const text = walk(new TokenGrammar(grammar, trie, new Map()), random);
      if (text === null) continue;
      ended += 1;
      expect(validate(JSON.parse(text)), `seed ${SEED}, ${name}: ${text}`).toBe(true);
    }
    expect(ended).toBeGreaterThan(20);
  }, 120_000);

  test("a token is allowed when its bytes are accepted, and only then", () => {
    const schema = {
      type: "object",
      properties: {
        a: { type: "string", maxLength: 9 },
        b: { type: "array", items: { type: "number" } },
        c: { type: "string", pattern: "fo.*ba" },
        d: {
          anyOf: [
            { type: "string", minLength: 3, maxLength: 40 },
            { type: "string", minLength: 5 },
          ],
        },
      },
    };
    const grammar = compiled(schema, alphabet);
    if (grammar instanceof Failure) throw grammar;
    const begins = ["", "{", '{"a": "', '{"a":"abcdef', '{"b": [1', '{"b":[-', '{"a":"\\'];
    const inside = ['{"c":"', '{"c":"fo', '{"c":"foba', '{"d":"', '{"d":"abcd', `{"d":"${"é".repeat(36)}`];
    for (const begun of [...begins, ...inside]) {
      const tokens = new TokenGrammar(grammar, trie, new Map());
      const matcher = new GrammarMatcher(tokens);
      expect(matcher.accept(Buffer.from(begun))).toBe(true);
      matcher.allow(mask);
      const some = ids.filter((id) => id % 11 === begun.length);
      const wrong = some.filter((id) => {
        const next = new GrammarMatcher(tokens);
        next.accept(Buffer.from(begun));
        return isAllowed(id) !== (bytesOf(id).length > 0 && next.accept(bytesOf(id)));
      });
      expect(wrong, begun).toEqual([]);
    }
  }, 60_000);
});

/** null: the library cannot read the schema. */
function validator(schema: unknown): ReturnType<Ajv2020["compile"]> | null {
  const bare = typeof schema === "object" ? { ...schema, $schema: undefined } : schema;
  for (const unicodeRegExp of [true, false]) {
    try {
      const options = {
        strict: false,
        validateFormats: false,
        logger: false,
        multipleOfPrecision: 6,
        unicodeRegExp,
      } as const;
      return new Ajv2020(options).compile(bare as object);
    } catch {}
  }
  return null;
}
