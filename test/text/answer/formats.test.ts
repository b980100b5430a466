/** Answers in the formats that real chat templates ask for: what each holds, cut anywhere; and hostile ones. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ToolDefinition } from "../../../src/core/generation.ts";
import { type AnswerEvent, collectAnswer } from "../../../src/text/answer/events.ts";
import { ANSWER_FORMATS, formatNamed, formatOf, type Marks, marksOf } from "../../../src/text/answer/formats.ts";
import { AnswerParser } from "../../../src/text/answer/parser.ts";
import type { AnswerOptions } from "../../../src/text/answer/segments.ts";
import { thoughtMarksOf } from "../../../src/text/answer/thoughts.ts";
import { failureOf } from "../../formats/scratch.ts";
import { integer, seeded } from "../../random.ts";

const TEMPLATES = join(import.meta.dir, "../../../../shared/data/chat-templates/templates");

const tool = (name: string, properties: Record<string, unknown>): ToolDefinition => {
  return { name, description: null, parameters: { type: "object", properties }, strict: false };
};
const TOOLS = [
  tool("get_weather", { city: { type: "string" }, days: { type: "integer" } }),
  tool("python", { code: { type: "string" } }),
];
const PARIS = { name: "get_weather", arguments: { city: "Paris" } };
const THINK: Marks = { open: "<think>", close: "</think>" };

interface Sample {
  readonly format: string;
  readonly text: string;
  readonly content?: string;
  readonly reasoning?: string;
  readonly calls?: readonly { name: string; arguments: unknown }[];
  readonly thoughts?: readonly Marks[];
}

const SAMPLES: readonly Sample[] = [
  {
    format: "hermes",
    text: '<think>\nhm\n</think>\n\nLet me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>\n<tool_call>{"arguments": "{\\"city\\": \\"Rome\\"}", "name": "get_weather"}</tool_call>',
    content: "Let me see.",
    reasoning: "hm",
    calls: [PARIS, { name: "get_weather", arguments: { city: "Rome" } }],
  },
  {
    format: "hermes",
    text: "<tool_call>\n{'name': 'get_weather', 'arguments': {'city': 'L\\'Aquila', 'days': None, 'x': [True, 1_000,],}}\n</tool_call>",
    calls: [{ name: "get_weather", arguments: { city: "L'Aquila", days: null, x: [true, 1000] } }],
  },
  { format: "hermes", text: "The mark <tool_call> begins a call.", content: "The mark <tool_call> begins a call." },
  { format: "hermes", text: "One says <think> first.", content: "One says <think> first." },
  { format: "hermes", text: "  indented\n", content: "  indented\n" },
  {
    format: "qwen-coder",
    text: "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
    calls: [{ name: "get_weather", arguments: { city: "Paris", days: 3 } }],
  },
  {
    format: "qwen-coder",
    text: "I look.<tool_call>\n<function=python>\n<parameter=code>\nif a < b:\n\tprint('</div>')\n\n</parameter>\n</function>\n</tool_call>",
    content: "I look.",
    calls: [{ name: "python", arguments: { code: "if a < b:\n\tprint('</div>')\n" } }],
  },
  {
    format: "qwen-coder",
    text: '<function=get_weather>{"city": "Paris"}</function>',
    calls: [PARIS],
  },
  {
    format: "mistral",
    text: 'Hi[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "123456789"}, {"name": "python", "arguments": {}}]',
    content: "Hi",
    calls: [PARIS, { name: "python", arguments: {} }],
  },
  {
    format: "mistral",
    text: '[THINK]hm[/THINK][TOOL_CALLS]get_weather[CALL_ID]123456789[ARGS]{"city": "Paris"}[TOOL_CALLS]python[ARGS]{"code": "1"}',
    reasoning: "hm",
    calls: [PARIS, { name: "python", arguments: { code: "1" } }],
    thoughts: [{ open: "[THINK]", close: "[/THINK]" }],
  },
  { format: "llama", text: '{"name": "get_weather", "parameters": {"city": "Paris"}}', calls: [PARIS] },
  {
    format: "llama",
    text: '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "python", "parameters": {}}',
    calls: [PARIS, { name: "python", arguments: {} }],
  },
  {
    format: "llama",
    text: '{"name": "unheard_of", "parameters": {}}',
    content: '{"name": "unheard_of", "parameters": {}}',
  },
  { format: "llama", text: '{"city": "Paris", "days": [1]}', content: '{"city": "Paris", "days": [1]}' },
  { format: "llama", text: '<|python_tag|>get_weather.call(city="Paris")', calls: [PARIS] },
  { format: "liquid", text: "See [get_weather(city='Paris')] and, so, on", content: "See and, so, on", calls: [PARIS] },
  { format: "liquid", text: "A [link](x) and [1, 2]", content: "A [link](x) and [1, 2]" },
  {
    format: "harmony",
    text: '<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
    content: "I look.",
    reasoning: "hm",
    calls: [PARIS],
  },
  {
    format: "harmony",
    text: ' to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris"}',
    calls: [PARIS],
  },
  { format: "harmony", text: "<|channel|>final<|message|>Hello\n\nyou", content: "Hello\n\nyou" },
  { format: "harmony", text: "Hello you", content: "Hello you" },
  {
    format: "glimmer",
    text: ' to=self<|message|>hm<|eom|><|start|>assistant to=get_weather<|message|><atem:function_calls>\n<atem:invoke name="get_weather">\n<atem:parameter name="city">Paris</atem:parameter>\n</atem:invoke>\n</atem:function_calls><|eot|>',
    reasoning: "hm",
    calls: [PARIS],
  },
  { format: "functionary", text: "all\nHello >you", content: "Hello >you" },
  {
    format: "functionary",
    text: 'all\nI look.\n>>>get_weather\n{"city": "Paris"}',
    content: "I look.",
    calls: [PARIS],
  },
  {
    format: "deepseek",
    text: '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    calls: [PARIS],
  },
  {
    format: "deepseek",
    text: 'I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>python<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    content: "I look.",
    calls: [PARIS, { name: "python", arguments: {} }],
  },
  {
    format: "deepseek-tags",
    text: '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    calls: [{ name: "get_weather", arguments: { city: "Paris", days: 3 } }],
  },
  {
    format: "gemma-4",
    text: '<|channel>thought\nhm\n<channel|>I look.<|tool_call>call:get_weather{city:<|"|>Pa"r\\is<|"|>,days:3}<tool_call|>',
    content: "I look.",
    reasoning: "hm",
    calls: [{ name: "get_weather", arguments: { city: 'Pa"r\\is', days: 3 } }],
    thoughts: [{ open: "<|channel>thought", close: "<channel|>" }],
  },
  {
    format: "functiongemma",
    text: "<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>",
    calls: [PARIS],
  },
  {
    format: "list",
    text: '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|/tool_call|>',
    calls: [PARIS],
  },
  {
    format: "apertus",
    text: '<|inner_prefix|>hm<|inner_suffix|><|tools_prefix|>[{"get_weather": {"city": "Paris"}}]<|tools_suffix|>',
    reasoning: "hm",
    calls: [PARIS],
    thoughts: [{ open: "<|inner_prefix|>", close: "<|inner_suffix|>" }],
  },
  {
    format: "nemotron",
    text: '<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Paris"}}]</TOOLCALL>',
    calls: [PARIS],
  },
  {
    format: "firefunction",
    text: ' functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    calls: [PARIS],
  },
  {
    format: "apriel",
    text: '<tool_calls>[{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "1"}]</tool_calls>',
    calls: [PARIS],
  },
  {
    format: "olmo",
    text: '<function_calls>\nget_weather(city="Paris")\npython(code="""a\n"b\\"""")\n</function_calls>',
    calls: [PARIS, { name: "python", arguments: { code: 'a\n"b"' } }],
  },
  {
    format: "solar",
    text: '<|think|>hm<|end|><|begin|>assistant<|tool_calls|><|tool_call:begin|>123456789<|tool_call:name|>get_weather<|tool_call:args|>{"city": "Paris"}<|tool_call:end|>',
    reasoning: "hm",
    calls: [PARIS],
    thoughts: [{ open: "<|think|>", close: "<|end|>" }],
  },
  {
    format: "glm",
    text: "<think>hm</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
    reasoning: "hm",
    calls: [{ name: "get_weather", arguments: { city: "Paris", days: 3 } }],
  },
];

function options(format: string, thoughts: readonly Marks[] = [THINK]): AnswerOptions {
  return {
    format: formatNamed(format),
    thoughts,
    open_thought: null,
    tools: TOOLS,
    reads_calls: true,
    parts_reasoning: true,
  };
}

function parsed(how: AnswerOptions, pieces: readonly string[]) {
  const parser = new AnswerParser(how);
  const events: AnswerEvent[] = pieces.flatMap((piece) => [...parser.push(piece)]);
  return collectAnswer([...events, ...parser.end()]);
}

function piecesOf(text: string, length: number): readonly string[] {
  const points = Array.from(text);
  return points.flatMap((_, at) => (at % length === 0 ? [points.slice(at, at + length).join("")] : []));
}

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

/** A word that no answer holds. */
const CANARY = "Zq7Xw";

test("nothing that a model says is lost, however its text is cut or damaged", () => {
  const seed = 20_261_121;
  const random = seeded(seed);
  const damage = (text: string): string => {
    const points = Array.from(text);
    const at = integer(random, 0, points.length);
    const length = integer(random, 0, 6);
    const other = Array.from(SAMPLES[integer(random, 0, SAMPLES.length - 1)]?.text ?? "");
    const from = integer(random, 0, other.length);
    switch (integer(random, 0, 3)) {
      case 0:
        return points.slice(0, at).join("");
      case 1:
        return [...points.slice(0, at), ...points.slice(at + length)].join("");
      case 2:
        return [...points.slice(0, at), ...other.slice(from, from + 3 * length), ...points.slice(at)].join("");
      default:
        return [...points.slice(0, at), ...points.slice(Math.max(0, at - length))].join("");
    }
  };
  for (let round = 0; round < 1500; round++) {
    const sample = SAMPLES[integer(random, 0, SAMPLES.length - 1)];
    if (sample === undefined) throw new Error("no samples");
    const how = options(sample.format, sample.thoughts);
    const damaged = integer(random, 0, 1) === 0 ? damage(sample.text) : damage(damage(sample.text));
    const points = Array.from(damaged);
    const at = integer(random, 0, points.length);
    const text = [...points.slice(0, at), CANARY, ...points.slice(at)].join("");
    const whole = parsed(how, [text]);
    const said = JSON.stringify(whole);
    expect({ seed, round, format: sample.format, text, found: said.includes(CANARY), said }).toMatchObject({
      found: true,
    });
    expect({ seed, round, text, ...parsed(how, piecesOf(text, 1)) }).toEqual({ seed, round, text, ...whole });
    expect({ seed, round, text, ...parsed(how, piecesOf(text, 5)) }).toEqual({ seed, round, text, ...whole });
  }
}, 60_000);

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
