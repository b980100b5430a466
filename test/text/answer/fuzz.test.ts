/** Hostile and damaged answers in every format: nothing throws, nothing is lost, and pieces are read as the whole is. */

import { expect, test } from "bun:test";
import { type AnswerEvent, collectAnswer, type ParsedAnswer } from "../../../src/text/answer/events.ts";
import { ANSWER_FORMATS, type AnswerFormat, type Marks, marksOf } from "../../../src/text/answer/formats.ts";
import { AnswerParser } from "../../../src/text/answer/parser.ts";
import { integer, seeded } from "../../random.ts";
import { options, parsed, piecesOf, SAMPLES, THINK } from "./samples.ts";

/** For each format; two seconds for all. */
const ROUNDS = 40;

/** What trips readers: brackets in strings, escapes cut short, marks where none belongs. */
const TRAPS = [
  '{"name": "python", "arguments": {"code": "}{[</tool_call><think>\\"\\\\"}}',
  "{'name': 'python', 'arguments': {'code': 'a\\'b', 'x': [(1, None,),]}}",
  '{"name": "python", "parameters": "{\\"code\\": \\"\\\\u00e9\\"}"}',
  '{"arguments": {"code": "1"}, "name": "python", "id": "call_1", "more": [1, {}]}',
  'python(code="""a"b""", days=1_0)',
  'python\n{"code": "x"}',
  ...['"', "'", '"""', "\\", "\\u", "\\u00", "\\ud83d", "\\ude00", "\\x4", "\\U0001F600", "\\\n"],
  ...["{", "}", "[", "]", "(", ")", ",", ":", ";", "=", "```json", "```", "null", "-1e", "0x1", "1_0", "NaN"],
  ...[
    " ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u2028",
    "\0",
    "word",
    "é",
    "😀",
    "name",
    '"name":',
    '"arguments": {',
  ],
  ...["<", ">", "</", "<function=python>", "</function>", "<parameter=code>", "</parameter>", "<｜DSML｜"],
  ...['<invoke name="python">', "</invoke>", '<parameter name="code">', "to=functions.python", "all\n", ">>>"],
  ...["<think>", "</think>", "<|end|>", "<|message|>", "call:python", "functions.python:0"],
];

/** A word that nobody else says; with its number it can be missed. */
const wordOf = (count: number) => `Zq${count}Xw`;

test.each(ANSWER_FORMATS.map((format) => [format.name, format] as const))(
  "%s: nothing that a model says is lost, however its text is cut or damaged",
  (_, format) => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seeded(seed);
    for (let round = 0; round < ROUNDS; round++) {
      const { text, words, thoughts } = answer(format, random);
      const how = { ...options(format.name, thoughts), open_thought: integer(random, 0, 5) === 0 ? THINK : null };
      const parser = new AnswerParser(how);
      const events = [...parser.push(text), ...parser.end()];
      const whole = collectAnswer(events);
      const said = { seed, round, text, whole };
      expect({ ...said, lost: lost(whole, words) }).toEqual({ ...said, lost: [] });
      expect({ ...said, unreported: unreported(events, whole, format) }).toEqual({ ...said, unreported: [] });
      for (const length of [1, 3, 7]) {
        expect({ ...said, length, answer: parsed(how, piecesOf(text, length)) }).toEqual({
          ...said,
          length,
          answer: whole,
        });
      }
    }
  },
  60_000,
);

function lost(whole: ParsedAnswer, words: readonly string[]): readonly string[] {
  const said = JSON.stringify(whole);
  return words.filter((word) => !said.includes(word));
}

/** Arguments that are no JSON, and marks of calls in the content: a report has to say of them. */
function unreported(events: readonly AnswerEvent[], { tool_calls, reports }: ParsedAnswer, format: AnswerFormat) {
  if (reports.some(({ trouble }) => trouble !== "ignored")) return [];
  const opens = format.calls.flatMap((marks) => marks.opens);
  const contents = events.flatMap((event) => (event.kind === "content" ? [event.text] : []));
  const marked = contents.filter((text) => opens.some((open) => text.includes(open)));
  return [...marked, ...tool_calls.flatMap((call) => (isObject(call.arguments) ? [] : [call.arguments]))];
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

interface Answer {
  readonly text: string;
  readonly words: readonly string[];
  readonly thoughts: readonly Marks[];
}

function answer(format: AnswerFormat, random: () => number): Answer {
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[integer(random, 0, items.length - 1)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  };
  const own = SAMPLES.filter((sample) => sample.format === format.name);
  const thoughts = [THINK, ...own.flatMap((sample) => sample.thoughts ?? [])];
  const sources = [
    () => pick(TRAPS),
    () => pick(marksOf(format, thoughts)),
    () => pick(own.length > 0 ? own : SAMPLES).text,
  ];
  const parts = Array.from({ length: integer(random, 1, 9) }, () => pick(sources)());
  if (integer(random, 0, 2) === 0) parts.unshift(pick(SAMPLES).text);
  const points = Array.from(parts.join("")).flatMap((point) => {
    // Now and then a point is gone, or said twice.
    const fate = integer(random, 0, 60);
    return fate === 0 ? [] : fate === 1 ? [point, point] : [point];
  });
  const kept = integer(random, 0, 1) === 0 ? points : points.slice(0, integer(random, 0, points.length));
  const words = Array.from({ length: integer(random, 1, 4) }, (_, count) => wordOf(count));
  for (const word of words) kept.splice(integer(random, 0, kept.length), 0, word);
  return { text: kept.join(""), words, thoughts };
}
