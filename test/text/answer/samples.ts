/** An answer in every format, and how the tests read one, whole or in pieces. */

import type { ToolDefinition } from "../../../src/core/generation.ts";
import { type AnswerEvent, collectAnswer, type ParsedAnswer } from "../../../src/text/answer/events.ts";
import { formatNamed, type Marks } from "../../../src/text/answer/formats.ts";
import { AnswerParser } from "../../../src/text/answer/parser.ts";
import type { AnswerOptions } from "../../../src/text/answer/segments.ts";

const tool = (name: string, properties: Record<string, unknown>): ToolDefinition => {
  return { name, description: null, parameters: { type: "object", properties }, strict: false };
};
export const TOOLS = [
  tool("get_weather", { city: { type: "string" }, days: { type: "integer" } }),
  tool("python", { code: { type: "string" } }),
];
const PARIS = { name: "get_weather", arguments: { city: "Paris" } };
export const THINK: Marks = { open: "<think>", close: "</think>" };

export interface Sample {
  readonly format: string;
  readonly text: string;
  readonly content?: string;
  readonly reasoning?: string;
  readonly calls?: readonly { name: string; arguments: unknown }[];
  readonly thoughts?: readonly Marks[];
}

export const SAMPLES: readonly Sample[] = [
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

export function options(format: string, thoughts: readonly Marks[] = [THINK]): AnswerOptions {
  return {
    format: formatNamed(format),
    thoughts,
    open_thought: null,
    tools: TOOLS,
    reads_calls: true,
    parts_reasoning: true,
  };
}

export function parsed(how: AnswerOptions, pieces: readonly string[]): ParsedAnswer {
  const parser = new AnswerParser(how);
  const events: AnswerEvent[] = pieces.flatMap((piece) => [...parser.push(piece)]);
  return collectAnswer([...events, ...parser.end()]);
}

export function piecesOf(text: string, length: number): readonly string[] {
  const points = Array.from(text);
  return points.flatMap((_, at) => (at % length === 0 ? [points.slice(at, at + length).join("")] : []));
}
