/** Answers in the formats that real chat templates ask for: what each holds, cut anywhere; and hostile ones. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { collectAnswer } from "../../../src/text/answer/events.ts";
import { ANSWER_FORMATS, formatNamed, formatOf, marksOf } from "../../../src/text/answer/formats.ts";
import { AnswerParser } from "../../../src/text/answer/parser.ts";
import type { AnswerOptions } from "../../../src/text/answer/segments.ts";
import { thoughtMarksOf } from "../../../src/text/answer/thoughts.ts";
import { failureOf } from "../../formats/scratch.ts";
import { integer, seeded } from "../../random.ts";
import { options, parsed, piecesOf, SAMPLES, THINK, TOOLS } from "./samples.ts";

const TEMPLATES = join(import.meta.dir, "../../../../shared/data/chat-templates/templates");

test("each format's answer holds what was said, wherever it is cut", () => {
  for (const { format, text, content = "", reasoning = "", calls = [], thoughts } of SAMPLES) {
    const how = options(format, thoughts);
    const whole = parsed(how, [text]);
    const tool_calls = whole.tool_calls.map((call) => ({ name: call.name, arguments: JSON.parse(call.arguments) }));
    expect({ format, text, content: whole.content, reasoning: whole.reasoning, calls: tool_calls }).toEqual({
      format,
      text,
      content,
      reasoning,
      calls: [...calls],
    });
    for (const length of [1, 2, 3, 7]) expect(parsed(how, piecesOf(text, length))).toEqual(whole);
  }
});

test("arguments come as they are written", () => {
  const parser = new AnswerParser(options("hermes"));
  const kinds = (text: string) => parser.push(text).map((event) => ("text" in event ? event.text : event.kind));
  expect(kinds('<tool_call>{"name": "python", "argum')).toEqual([]);
  expect(kinds('ents": {"code": "print')).toEqual(["call", '{"code": "print']);
  expect(kinds("(1)")).toEqual(["(1)"]);
  expect(kinds('"}}</tool_')).toEqual(['"}', "call_end"]);
  expect(kinds("call>")).toEqual([]);
  expect(parser.end()).toEqual([]);
});

describe.each(ANSWER_FORMATS.map((format) => [format.name, format] as const))("%s", (_, format) => {
  const head = format.content?.open ?? "";
  const calls = format.calls.flatMap(({ opens }) => opens);
  const known = format.bare === "python" ? TOOLS.map(({ name }) => `[${name}(`) : [];
  const channels = { none: [], harmony: HARMONY_ENDS, recipients: [">>>"] }[format.channels ?? "none"];
  const in_content = [...calls, ...known, ...channels, ...format.around_content];
  const in_thought = [THINK.close, ...(format.calls_end_thoughts ? calls : [])];
  const seed = Math.floor(Math.random() * 2 ** 31);

  /** Words, space and marks that end too early. */
  const talk = (random: () => number, marks: readonly string[]) => {
    const part = () => {
      const mark = marks[integer(random, 0, marks.length - 1)] ?? "";
      const cut = mark.slice(0, integer(random, 0, mark.length - 1));
      const parts = ["Word", " ", "\n", "\n\n", "   ", marks.some((each) => cut.includes(each)) ? "·" : `${cut}·`];
      return parts[integer(random, 0, parts.length - 1)] ?? "";
    };
    return `Hi${Array.from({ length: 12 }, part).join("")}`;
  };

  test("waits with no more than what may begin a call, or end a thought", () => {
    const random = seeded(seed);
    const lines = format.calls_begin_lines ? /^\n{0,2}/ : /^/;
    for (let round = 0; round < 40; round++) {
      const text = talk(random, in_content);
      const parser = new AnswerParser(options(format.name));
      let said = collectAnswer(parser.push(head)).content;
      for (const [at, unit] of Array.from(text).entries()) {
        said += collectAnswer(parser.push(unit)).content;
        const come = Array.from(text)
          .slice(0, at + 1)
          .join("");
        expect({ seed, text, come, starts: come.startsWith(said) }).toMatchObject({ starts: true });
        const begun = come.slice(said.length).replace(lines, "");
        const may_wait = begun === "" || in_content.some((mark) => mark.startsWith(begun));
        expect({ seed, come, begun, may_wait }).toEqual({ seed, come, begun, may_wait: true });
      }
    }
  });

  if (format.channels !== null) return;
  test("waits in a thought with no more than what may end it", () => {
    const random = seeded(seed);
    for (let round = 0; round < 40; round++) {
      const text = talk(random, in_thought);
      const parser = new AnswerParser(options(format.name));
      let said = collectAnswer(parser.push(THINK.open)).reasoning;
      for (const [at, unit] of Array.from(text).entries()) {
        said += collectAnswer(parser.push(unit)).reasoning;
        const come = Array.from(text)
          .slice(0, at + 1)
          .join("");
        const begun = come.slice(said.length).replace(/^\n{0,2}/, "");
        const may_wait = begun === "" || in_thought.some((mark) => mark.startsWith(begun));
        expect({ seed, come, begun, may_wait }).toEqual({ seed, come, begun, may_wait: true });
      }
    }
  });
});

const HARMONY_ENDS = ["<|start|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>", "<|eom|>", "<|eot|>"];

test("white space before the first word waits, and line ends where a call would begin its line", () => {
  const texts = (how: AnswerOptions) => {
    const parser = new AnswerParser(how);
    return ["\n", "One.", "\n", "\n", "  ", "Two"].map((piece) => collectAnswer([...parser.push(piece)]).content);
  };
  expect(texts({ ...options("hermes"), reads_calls: false })).toEqual(["", "\nOne.", "\n", "\n", "  ", "Two"]);
  expect(texts(options("mistral"))).toEqual(["", "\nOne.", "\n", "\n", "  ", "Two"]);
  expect(texts(options("hermes"))).toEqual(["", "\nOne.", "", "", "\n\n  ", "Two"]);
});

test("line ends around a call are no content, and space between words is", () => {
  const call = '<tool_call>{"name": "python", "arguments": {}}</tool_call>';
  const contents = ["\n\n", "One.\n\n", "One. ", "One."].map((before) => {
    return parsed(options("hermes"), [`${before}${call}\nTwo`]).content;
  });
  expect(contents).toEqual(["Two", "One.\nTwo", "One. Two", "One.\nTwo"]);
  expect(parsed(options("hermes"), [`\n\n${call}\n`]).content).toBe("");
});

test("text that is no call is content again, and a report says why", () => {
  const text = 'I say <tool_call>{"name": 7 up}</tool_call>';
  const { content, reports } = parsed(options("hermes"), [text]);
  expect(content).toBe(text);
  expect(reports).toEqual([
    { kind: "report", trouble: "malformed", reason: 'expected "," or "}"', text: '<tool_call>{"name": 7 ' },
  ]);
});

test("a call that is cut keeps what came of it", () => {
  const { tool_calls, reports } = parsed(options("hermes"), ['<tool_call>{"name": "python", "arguments": {"code": "a']);
  expect(tool_calls).toEqual([{ id: null, name: "python", arguments: '{"code": "a' }]);
  expect(reports).toMatchObject([{ trouble: "unfinished", reason: "the text ends in a string" }]);
});

test("a text that is cut at a line end keeps it", () => {
  const text = "<tool_call>\n<function=python>\n<parameter=code>\nprint(1)\n";
  for (const length of [1, text.length]) {
    const { tool_calls, reports } = parsed(options("qwen-coder"), piecesOf(text, length));
    expect(tool_calls).toMatchObject([{ arguments: '{"code": "print(1)\\n' }]);
    expect(reports).toMatchObject([{ trouble: "unfinished", text: "" }]);
  }
});

test("without tools a call is content; without reasoning a thought is", () => {
  const text = "<think>hm</think>\n<tool_call>x</tool_call>";
  expect(parsed({ ...options("hermes"), reads_calls: false }, [text])).toMatchObject({
    reasoning: "hm",
    content: "<tool_call>x</tool_call>",
  });
  expect(parsed({ ...options("hermes"), reads_calls: false, parts_reasoning: false }, [text]).content).toBe(text);
  const open = { ...options("hermes"), open_thought: THINK };
  expect(parsed(open, ["hm</think>yes"])).toMatchObject({ reasoning: "hm", content: "yes" });
  expect(parsed(open, ["<think>hm</think>yes"])).toMatchObject({ reasoning: "hm", content: "yes" });
  expect(parsed({ ...open, parts_reasoning: false }, ["hm</think>yes"]).content).toBe("<think>hm</think>yes");
});

test("an answer of values in values to no end is text", () => {
  const deep = `<tool_call>{"name": "python", "arguments": {"a": ${"[".repeat(100_000)}`;
  const { content, tool_calls } = parsed(options("hermes"), [deep]);
  expect(content.length + (tool_calls[0]?.arguments.length ?? 0)).toBeGreaterThan(99_900);
});

test("a format of no name is refused with those there are", () => {
  expect(failureOf(() => formatNamed("unheard"))).toMatchObject({
    parameter: "answer_format",
    message: expect.stringContaining('hermes, llama, found "unheard"'),
  });
});

describe.skipIf(!existsSync(TEMPLATES))("real templates", () => {
  const formats: Readonly<Record<string, string>> = Object.fromEntries(
    readdirSync(TEMPLATES).map((name) => [name, formatOf(readFileSync(join(TEMPLATES, name), "utf8")).name]),
  );
  const named = (part: string) => Object.entries(formats).find(([name]) => name.includes(part))?.[1];

  test("tell their format by their own text", () => {
    const known = Object.entries({
      "DeepSeek-V3.1": "deepseek",
      "DeepSeek-V3.2": "deepseek-tags",
      "gpt-oss": "harmony",
      "gemma-4": "gemma-4",
      "granite-3.3": "list",
      "Llama-3.1": "llama",
      "Llama-3.2": "llama",
      "functionary-medium-v3.2": "functionary",
      "functionary-medium-v3.1": "qwen-coder",
      firefunction: "firefunction",
      "Qwen2.5": "hermes",
      "Qwen3-Coder": "qwen-coder",
      "Mistral-Nemo": "mistral",
      "072_v15": "mistral-11",
      Apertus: "apertus",
      "Apriel-1.6": "apriel",
      "GLM-5": "glm",
      glimmer: "glimmer",
      "LFM2-8B": "liquid",
    });
    expect(known.map(([part]) => [part, named(part)])).toEqual(known.map(([part, format]) => [part, format]));
  });

  test("have no mark that is not among those their tokenizer is asked for", () => {
    const source = readFileSync(join(TEMPLATES, "054_openai-gpt-oss-120b.jinja"), "utf8");
    expect(marksOf(formatOf(source), thoughtMarksOf(source))).toContain("<|channel|>");
  });
});
