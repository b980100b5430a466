/**
 * How the families of models write their answers: the marks around calls and content. A chat template's own text tells
 * which.
 */

import { Failure } from "../../core/failure.ts";
import type { CallStyle } from "../../core/grammar.ts";
import {
  ATEM_PARAMETERS,
  DSML_PARAMETERS,
  list,
  listed,
  MINIMAX_PARAMETERS,
  NAMED_OBJECT,
  PAIRS,
  PARAMETERS,
  SEED_PARAMETERS,
  writing,
} from "./call-styles.ts";

export interface Marks {
  readonly open: string;
  readonly close: string;
}

export interface CallMarks {
  /** Any of them begins calls, and between calls they may stand again. */
  readonly opens: readonly string[]; // one that ends in "=" is the beginning of the call, "[" of the list
  /** Ends one call; others may follow. */
  readonly between: readonly string[];
  /** Ends all calls; where there are none they end with the list, or with what is no call. */
  readonly closes: readonly string[];
}

export interface AnswerFormat {
  readonly name: string;
  /** A template that holds one of these asks for this format. */
  readonly evidence: readonly string[];
  readonly calls: readonly CallMarks[];
  /** Calls without a mark: a JSON object where the answer begins, or `[name(` of a known tool anywhere. */
  readonly bare: "json" | "python" | null;
  /** An answer in messages: each has a header that tells what it is. */
  readonly channels: "harmony" | "recipients" | null;
  /** The key of a call's JSON object is the tool's name. */
  readonly names_are_keys: boolean;
  /** A thought ends with the first call, whether it was closed or not. */
  readonly calls_end_thoughts: boolean;
  /** Calls stand on lines of their own: the line ends between content and a call are no content. */
  readonly calls_begin_lines: boolean;
  /** Marks around the content, which are not part of it. */
  readonly around_content: readonly string[];
  /** What content that is nothing else stands within, where the model is used to it. */
  readonly content: Marks | null;
  /** How the model itself writes calls. */
  readonly writes: CallStyle;
}

/** A template that says nothing of calls is given the tools as text, in the form that most models have seen. */
const DEFAULT_FORMAT_NAME = "hermes";

export function formatOf(template: string): AnswerFormat {
  const found = ANSWER_FORMATS.find(({ evidence }) => evidence.some((text) => template.includes(text)));
  return found ?? formatNamed(DEFAULT_FORMAT_NAME);
}

export function formatNamed(name: string): AnswerFormat {
  const found = ANSWER_FORMATS.find((format) => format.name === name);
  if (found !== undefined) return found;
  const state = `the formats are ${ANSWER_FORMATS.map((format) => format.name).join(", ")}, found "${name}"`;
  throw new Failure("invalid_request", `Cannot use the answer format: ${state}`, "answer_format");
}

/** Every mark of an answer: a tokenizer may hold it as a control token, which otherwise has no text. */
export function marksOf(format: AnswerFormat, thoughts: readonly Marks[]): readonly string[] {
  const calls = format.calls.flatMap(({ opens, between, closes }) => [...opens, ...between, ...closes]);
  const of_thoughts = thoughts.flatMap(({ open, close }) => [open, close]);
  const of_channels = format.channels === "harmony" ? HARMONY_MARKS : [];
  return [...calls, ...of_thoughts, ...format.around_content, ...INNER_MARKS, ...of_channels];
}

/** Between a call's name, its id and its arguments. */
export const HEADER_MARKS = [
  "[CALL_ID]",
  "[ARGS]",
  "<|tool_call_argument_begin|>",
  "<｜tool▁sep｜>",
  "<|tool_call:name|>",
  "<|tool_call:args|>",
];

/** Within a call. */
const INNER_MARKS = [
  ...HEADER_MARKS,
  '<|"|>',
  "<escape>",
  "<arg_key>",
  "</arg_key>",
  "<arg_value>",
  "</arg_value>",
  "｜DSML｜",
];

const HARMONY_MARKS = ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|eom|>"];

const DEEPSEEK_MARKS: CallMarks = {
  opens: ["<｜tool▁calls▁begin｜>", "<｜tool▁calls｜>", "<｜tool▁call▁begin｜>"],
  between: ["<｜tool▁call▁end｜>"],
  closes: ["<｜tool▁calls▁end｜>"],
};

const PLAIN = {
  calls: [],
  bare: null,
  channels: null,
  names_are_keys: false,
  calls_end_thoughts: false,
  calls_begin_lines: false,
  around_content: [],
  content: null,
} as const;

/** The most telling evidence first. */
export const ANSWER_FORMATS: readonly AnswerFormat[] = [
  format("harmony", ["<|channel|>"], {
    channels: "harmony",
    content: { open: "<|channel|>final<|message|>", close: "" },
    writes: writing({
      before: "<|channel|>commentary to=functions.%name% <|constrain|>json<|message|>",
      between: null,
    }),
  }),
  format("glimmer", ["atem:function_calls"], {
    calls_begin_lines: true,
    calls: [tags("atem:function_calls")],
    channels: "harmony",
    content: { open: " to=user<|message|>", close: "" },
    writes: writing({
      before: ' to=%name%<|message|><atem:function_calls>\n<atem:invoke name="%name%">\n',
      arguments: ATEM_PARAMETERS,
      after: "</atem:invoke>\n</atem:function_calls>",
      between: "<|eom|><|start|>assistant",
    }),
  }),
  format("functionary", [">>>all"], {
    calls_begin_lines: true,
    channels: "recipients",
    content: { open: "all\n", close: "" },
    writes: writing({ before: "%name%\n", between: ">>>" }),
  }),
  format("kimi", ["<|tool_call_begin|>"], {
    calls: [
      {
        opens: ["<|tool_calls_section_begin|>", "<|tool_call_begin|>"],
        between: ["<|tool_call_end|>"],
        closes: ["<|tool_calls_section_end|>"],
      },
    ],
    calls_end_thoughts: true,
    // Calls are numbered: more than one would need a count.
    writes: writing({
      before: "<|tool_calls_section_begin|><|tool_call_begin|>functions.%name%:0<|tool_call_argument_begin|>",
      after: "<|tool_call_end|><|tool_calls_section_end|>",
      between: null,
    }),
  }),
  format("deepseek-tags", ["｜DSML｜"], {
    calls_begin_lines: true,
    calls: [tags("｜DSML｜function_calls"), tags("｜DSML｜tool_calls")],
    writes: writing({
      begin: "<｜DSML｜function_calls>\n",
      before: '<｜DSML｜invoke name="%name%">\n',
      arguments: DSML_PARAMETERS,
      after: "</｜DSML｜invoke>\n",
      end: "</｜DSML｜function_calls>",
    }),
  }),
  format("deepseek-r1", ["tool['type'] + '<｜tool▁sep｜>'", "function<｜tool▁sep｜>"], {
    calls: [DEEPSEEK_MARKS],
    writes: writing({
      begin: "<｜tool▁calls▁begin｜>",
      before: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>%name%\n```json\n",
      after: "\n```<｜tool▁call▁end｜>",
      between: "\n",
      end: "<｜tool▁calls▁end｜>",
    }),
  }),
  format("deepseek", ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"], {
    calls: [DEEPSEEK_MARKS],
    writes: writing({
      begin: "<｜tool▁calls▁begin｜>",
      before: "<｜tool▁call▁begin｜>%name%<｜tool▁sep｜>",
      after: "<｜tool▁call▁end｜>",
      end: "<｜tool▁calls▁end｜>",
    }),
  }),
  format("minimax", ["minimax:tool_call"], {
    calls_begin_lines: true,
    calls: [tags("minimax:tool_call")],
    writes: writing({
      begin: "<minimax:tool_call>\n",
      before: '<invoke name="%name%">\n',
      arguments: MINIMAX_PARAMETERS,
      after: "</invoke>\n",
      end: "</minimax:tool_call>",
    }),
  }),
  format("seed", ["seed:tool_call"], {
    calls_begin_lines: true,
    calls: [tags("seed:tool_call")],
    writes: writing({
      before: "<seed:tool_call>\n<function=%name%>\n",
      arguments: SEED_PARAMETERS,
      after: "</function>\n</seed:tool_call>",
      between: "\n",
    }),
  }),
  format("cohere", ["<|START_ACTION|>"], {
    calls: [within("<|START_ACTION|>", "<|END_ACTION|>")],
    around_content: ["<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"],
    content: { open: "<|START_RESPONSE|>", close: "<|END_RESPONSE|>" },
    // Calls are numbered, as Kimi's.
    writes: writing({
      before: '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "%name%", "parameters": ',
      after: "}\n]<|END_ACTION|>",
      between: null,
    }),
  }),
  format("command-r", ["Action:"], {
    calls_begin_lines: true,
    calls: [
      {
        opens: ["Action:\n```json", "Action: ```json", "Action:```json", "Action:\n```"],
        between: [],
        closes: ["```"],
      },
    ],
    around_content: ["<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"],
    writes: writing({
      begin: "Action: ```json\n[\n    ",
      before: '{\n        "tool_name": "%name%",\n        "parameters": ',
      after: "\n    }",
      between: ",\n    ",
      end: "\n]```",
    }),
  }),
  format("mistral-11", ["[ARGS]"], {
    calls: [from("[TOOL_CALLS]")],
    writes: writing({ before: "[TOOL_CALLS]%name%[ARGS]" }),
  }),
  format("mistral-3", ["[TOOL_CALLS] ["], {
    calls: [from("[TOOL_CALLS]")],
    writes: list("[TOOL_CALLS] [", "]"),
  }),
  format("mistral", ["[TOOL_CALLS]"], {
    calls: [from("[TOOL_CALLS]")],
    writes: list("[TOOL_CALLS][", "]"),
  }),
  format("apertus", ["<|tools_prefix|>"], {
    calls: [within("<|tools_prefix|>", "<|tools_suffix|>")],
    names_are_keys: true,
    writes: { ...list("<|tools_prefix|>[", "]<|tools_suffix|>"), before: '{"%name%": ' },
  }),
  format("solar", ["<|tool_calls|>"], {
    calls: [{ opens: ["<|tool_calls|>", "<|tool_call:begin|>"], between: ["<|tool_call:end|>"], closes: [] }],
    around_content: ["<|begin|>assistant", "<|content|>", "<|end|>"],
    content: { open: "<|content|>", close: "" },
    // Each call has a number of its own, as Kimi's.
    writes: writing({
      begin: "<|tool_calls|>",
      before: "<|tool_call:begin|>0<|tool_call:name|>%name%<|tool_call:args|>",
      after: "<|tool_call:end|>",
      between: null,
    }),
  }),
  format("gigachat", ["<|function_call|>"], {
    calls: [from("<|function_call|>")],
    writes: writing({ begin: "<|function_call|>", before: NAMED_OBJECT, after: "}", between: null }),
  }),
  format("gigachat-3", ["<|message_sep|>"], {
    calls: [from("<|message_sep|>\n\nfunction call<|role_sep|>")],
    writes: writing({
      begin: "<|message_sep|>\n\nfunction call<|role_sep|>\n",
      before: NAMED_OBJECT,
      after: "}",
      between: null,
    }),
  }),
  format("gemma-4", ["<|tool_call>"], {
    calls: [within("<|tool_call>", "<tool_call|>")],
    writes: writing({
      before: "<|tool_call>call:%name%{",
      arguments: listed(":", ",", '<|"|>'),
      after: "}<tool_call|>",
    }),
  }),
  format("functiongemma", ["<start_function_call>"], {
    calls: [within("<start_function_call>", "<end_function_call>")],
    writes: writing({
      before: "<start_function_call>call:%name%{",
      arguments: listed(":", ",", "<escape>"),
      after: "}<end_function_call>",
    }),
  }),
  format("nemotron", ["<TOOLCALL>"], {
    calls_begin_lines: true,
    calls: [within("<TOOLCALL>", "</TOOLCALL>")],
    writes: list("<TOOLCALL>[", "]</TOOLCALL>"),
  }),
  format("liquid", ["List of tools: "], {
    calls: [within("<|tool_call_start|>", "<|tool_call_end|>")],
    bare: "python",
    writes: writing({
      begin: "<|tool_call_start|>[",
      before: "%name%(",
      arguments: listed("=", ", ", null),
      after: ")",
      between: ", ",
      end: "]<|tool_call_end|>",
    }),
  }),
  format("list", ["<|tool_call|>", "<|tool|>"], {
    calls: [{ opens: ["<|tool_call|>"], between: [], closes: ["<|/tool_call|>", "</|tool_call|>"] }],
    around_content: ["<response>", "</response>"],
    writes: list("<|tool_call|>[", "]"),
  }),
  format("firefunction", ["functools["], { calls: [from("functools[")], writes: list("functools[", "]") }),
  format("apriel", ["<tool_calls>"], {
    calls_begin_lines: true,
    calls: [within("<tool_calls>", "</tool_calls>")],
    around_content: ["[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"],
    writes: list("<tool_calls>[", "]</tool_calls>"),
  }),
  format("olmo", ["<function_calls>"], {
    calls_begin_lines: true,
    calls: [within("<function_calls>", "</function_calls>")],
    writes: writing({
      begin: "<function_calls>",
      before: "%name%(",
      arguments: listed("=", ", ", null),
      after: ")",
      between: "\n",
      end: "</function_calls>",
    }),
  }),
  format("qwen-coder", ["<function="], {
    calls_begin_lines: true,
    calls: [{ opens: ["<tool_call>", "<function="], between: [], closes: ["</tool_call>"] }],
    writes: writing({
      before: "<tool_call>\n<function=%name%>\n",
      arguments: PARAMETERS,
      after: "</function>\n</tool_call>",
      between: "\n",
    }),
  }),
  format("glm", ["<arg_key>"], {
    calls_begin_lines: true,
    calls: [tags("tool_call")],
    writes: writing({ before: "<tool_call>%name%\n", arguments: PAIRS, after: "</tool_call>", between: "\n" }),
  }),
  format("hermes", ["<tool_call>"], {
    calls_begin_lines: true,
    calls: [tags("tool_call")],
    writes: writing({ before: `<tool_call>\n${NAMED_OBJECT}`, after: "}\n</tool_call>", between: "\n" }),
  }),
  format("llama", ["<|python_tag|>", '"parameters": dictionary'], {
    calls: [from("<|python_tag|>")],
    bare: "json",
    writes: writing({ before: '{"name": "%name%", "parameters": ', after: "}", between: "; " }),
  }),
];

function format(
  name: string,
  evidence: readonly string[],
  parts: Partial<Omit<AnswerFormat, "name" | "evidence">> & Pick<AnswerFormat, "writes">,
): AnswerFormat {
  return { ...PLAIN, name, evidence, ...parts };
}

function tags(name: string): CallMarks {
  return within(`<${name}>`, `</${name}>`);
}

function within(open: string, close: string): CallMarks {
  return { opens: [open], between: [], closes: [close] };
}

function from(open: string): CallMarks {
  return { opens: [open], between: [], closes: [] };
}
