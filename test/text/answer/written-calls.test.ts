/** Calls that a grammar lets through are read as calls, in every format that has a style: its words are drawn at random. */

import { describe, expect, test } from "bun:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { ToolDefinition } from "../../../src/core/generation.ts";
import { type Form, MARK_BYTE } from "../../../src/core/grammar.ts";
import { GrammarMatcher, TokenGrammar } from "../../../src/engine/grammar.ts";
import { trieOf } from "../../../src/engine/token-trie.ts";
import { collectAnswer, type ParsedAnswer } from "../../../src/text/answer/events.ts";
import {
  ANSWER_FORMATS,
  type AnswerFormat,
  formatNamed,
  type Marks,
  marksOf,
} from "../../../src/text/answer/formats.ts";
import { AnswerParser } from "../../../src/text/answer/parser.ts";
import { thoughtForm, thoughtMarksOf } from "../../../src/text/answer/thoughts.ts";
import { compileGrammar } from "../../../src/text/grammar/compile.ts";
import { integer, seeded } from "../../random.ts";

const tool = (name: string, properties: Record<string, object>, required: string[]): ToolDefinition => {
  const parameters = { type: "object", properties, required, additionalProperties: false };
  return { name, description: null, parameters, strict: true };
};
const TOOLS = [
  tool(
    "get_weather",
    {
      city: { type: "string", minLength: 1, maxLength: 6 },
      days: { type: "integer", minimum: 0, maximum: 20 },
      unit: { enum: ["metric", "imperial"] },
      note: { type: ["string", "null"], maxLength: 3 },
    },
    ["city", "unit"],
  ),
  tool(
    "find.places",
    {
      tags: { type: "array", items: { type: "string", maxLength: 3 }, maxItems: 3 },
      near: {
        type: "object",
        properties: { open: { type: "boolean" }, code: { type: "string", pattern: "^[a-z]{2}$" } },
        required: ["code"],
        additionalProperties: false,
      },
    },
    [],
  ),
];
const ALL_BYTES = new Set(Array.from({ length: 256 }, (_, byte) => byte));
const ROUNDS = 4;

describe.each(ANSWER_FORMATS.map((format) => [format.name, format] as const))("%s", (_, format) => {
  test.each([
    ["spelled", []],
    ["tokens", tokensAmong(format)],
  ] as const)(
    "calls whose marks are %s",
    (_, marks) => {
      const seed = Math.floor(Math.random() * 2 ** 31);
      const draw = drawer({ kind: "calls", style: format.writes, is_parallel: true, tools: shapes() }, marks);
      for (let round = 0; round < ROUNDS; round++) {
        const text = draw(seed + round);
        const answer = read(format, text);
        const said = `seed ${seed + round}: ${JSON.stringify(text)}`;
        expect(`${said} ${answer.tool_calls.length > 0}`).toBe(`${said} true`);
        expect(`${said} ${answer.content}${answer.reports.map(({ reason }) => reason)}`).toBe(`${said} `);
        for (const call of answer.tool_calls) {
          const schema = TOOLS.find(({ name }) => name === call.name)?.parameters;
          const validate = new Ajv2020({ strict: false }).compile(schema ?? false);
          const departs = validate(JSON.parse(call.arguments)) ? "" : JSON.stringify(validate.errors);
          expect(`${said} ${departs}`).toBe(`${said} `);
        }
      }
    },
    30_000,
  );
});

test.each([
  ["harmony", "<|channel|>"],
  ["cohere", "<|START_ACTION|> <|START_THINKING|>"],
  ["hermes", "<tool_call> </think>"],
])(
  "%s: a thought, and behind it content of a form or calls",
  (name, template) => {
    const format = formatNamed(name);
    const thoughts = thoughtMarksOf(template);
    const thought = thoughtForm(format, template, "", null);
    if (thought === null) throw new Error("The template speaks of a thought");
    const yes: Form = { kind: "choice", texts: ["yes"] };
    const calls: Form = { kind: "calls", style: format.writes, is_parallel: false, tools: shapes() };
    const content: Form = format.content === null ? yes : { kind: "within", ...format.content, form: yes };
    const either: Form = { kind: "either", forms: [content, calls] };
    const marks = [...new Set([...tokensAmong(format, thoughts)])];
    const draw = drawer({ kind: "after_thought", thought, form: either }, marks);
    const seed = Math.floor(Math.random() * 2 ** 31);
    const seen = { thoughts: 0, contents: 0, calls: 0 };
    for (let round = 0; round < 24; round++) {
      const text = draw(seed + round);
      const { content, reasoning, tool_calls } = read(format, text, thoughts);
      const said = `seed ${seed + round}: ${JSON.stringify(text)}`;
      expect(`${said} ${tool_calls.length === 1 ? "" : content}`).toBe(
        `${said} ${tool_calls.length === 1 ? "" : "yes"}`,
      );
      seen.thoughts += reasoning === "" ? 0 : 1;
      seen[tool_calls.length === 1 ? "calls" : "contents"] += 1;
    }
    expect(Object.values(seen).every((count) => count > 0)).toBe(true);
  },
  60_000,
);

/** What tokenizers have as one token. */
function tokensAmong(format: AnswerFormat, thoughts: readonly Marks[] = []): readonly string[] {
  return marksOf(format, thoughts).filter((mark) => /^(<[^\s=]+>|\[[A-Z_]+\])$/.test(mark));
}

function shapes() {
  return TOOLS.map(({ name, parameters }) => ({ name, schema: parameters }));
}

function read(format: AnswerFormat, text: string, thoughts: readonly Marks[] = []): ParsedAnswer {
  const options = { thoughts, open_thought: null, tools: TOOLS, reads_calls: true, parts_reasoning: true };
  const parser = new AnswerParser({ format, ...options });
  return collectAnswer([...parser.push(text), ...parser.end()]);
}

/** Texts of the form: tokens are bytes and the marks, each as likely where it may stand. Ends where it may. */
function drawer(form: Form, marks: readonly string[]): (seed: number) => string {
  const bytes = Array.from({ length: MARK_BYTE }, (_, byte) => Buffer.of(byte));
  const tokens = [...bytes, ...marks.map((mark) => Buffer.from([MARK_BYTE, ...Buffer.from(mark)]))];
  const offsets = Uint32Array.from([0, ...tokens].map((_, id) => Buffer.concat(tokens.slice(0, id)).length));
  const trie = trieOf({ bytes: Buffer.concat(tokens), offsets }, tokens.length);
  const grammar = new TokenGrammar(compileGrammar({ parameter: "x", ...form }, ALL_BYTES, marks), trie, new Map());
  return (seed) => {
    const random = seeded(seed);
    const matcher = new GrammarMatcher(grammar);
    const mask = new Uint32Array(Math.ceil(tokens.length / 32));
    const text: Buffer[] = [];
    while (!matcher.is_complete && !(matcher.may_end && random() < 0.5)) {
      matcher.allow(mask);
      const allowed = tokens.flatMap((_, id) => (((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1 ? [id] : []));
      const id = allowed[integer(random, 0, allowed.length - 1)] ?? 0;
      const token = tokens[id] ?? Buffer.of();
      if (!matcher.accept(token)) throw new Error(`${token} is allowed and not accepted`);
      text.push(token[0] === MARK_BYTE ? token.subarray(1) : token);
    }
    return Buffer.concat(text).toString();
  };
}
