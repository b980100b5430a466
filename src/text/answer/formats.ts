/** How the families of models write thoughts and tool calls: the marks around them. A chat template's own text tells which. */

import { Failure } from "../../core/failure.ts";

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
  /** Marks around the content, which are not part of it. */
  readonly around_content: readonly string[];
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

/** The thoughts that `template` speaks of; `<think>` always: models use it that learned it from others. */
export function thoughtMarksOf(template: string): readonly Marks[] {
  return THOUGHTS.filter(({ open, close }) => {
    return open === "<think>" || template.includes(open.slice(1)) || template.includes(close);
  });
}

/** Whether a model with this template may think where it is not told to. */
export function mentionsThoughts(template: string): boolean {
  // <|end|> ends turns elsewhere.
  return THOUGHTS.some(({ open, close }) =>
    [open, close].some((mark) => mark !== "<|end|>" && template.includes(mark)),
  );
}

/** The thought that `prompt` has begun for the answer. */
export function openThought(prompt: string, marks: readonly Marks[]): Marks | null {
  const end = prompt.trimEnd();
  return marks.find(({ open }) => end.endsWith(open)) ?? null;
}

/** Every mark of an answer: a tokenizer may hold it as a control token, which otherwise has no text. */
export function marksOf(format: AnswerFormat, thoughts: readonly Marks[]): readonly string[] {
  const calls = format.calls.flatMap(({ opens, between, closes }) => [...opens, ...between, ...closes]);
  const of_thoughts = thoughts.flatMap(({ open, close }) => [open, close]);
  const of_channels = format.channels === "harmony" ? HARMONY_MARKS : [];
  return [...calls, ...of_thoughts, ...format.around_content, ...INNER_MARKS, ...of_channels];
}

/** Between a call's name, its id and its arguments. */
const INNER_MARKS = [
  "[CALL_ID]",
  "[ARGS]",
  "<|tool_call_argument_begin|>",
  "<｜tool▁sep｜>",
  "<|tool_call:name|>",
  "<|tool_call:args|>",
  '<|"|>',
  "<escape>",
  "<arg_key>",
  "</arg_key>",
  "<arg_value>",
  "</arg_value>",
  "｜DSML｜",
];

const HARMONY_MARKS = ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|eom|>"];

const THOUGHTS: readonly Marks[] = [
  { open: "<think>", close: "</think>" },
  { open: "<thinking>", close: "</thinking>" },
  { open: "<seed:think>", close: "</seed:think>" },
  { open: "[THINK]", close: "[/THINK]" },
  { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
  { open: "<|inner_prefix|>", close: "<|inner_suffix|>" },
  { open: "<|channel>thought", close: "<channel|>" },
  { open: "<|think|>", close: "<|end|>" },
  { open: "Here are my reasoning steps:", close: "[BEGIN FINAL RESPONSE]" },
];

const PLAIN = {
  calls: [],
  bare: null,
  channels: null,
  names_are_keys: false,
  calls_end_thoughts: false,
  around_content: [],
} as const;

/** The most telling evidence first. */
const ANSWER_FORMATS: readonly AnswerFormat[] = [
  format("harmony", ["<|channel|>"], { channels: "harmony" }),
  format("glimmer", ["atem:function_calls"], { calls: [tags("atem:function_calls")], channels: "harmony" }),
  format("functionary", [">>>all"], { channels: "recipients" }),
  format("kimi", ["<|tool_call_begin|>"], {
    calls: [
      {
        opens: ["<|tool_calls_section_begin|>", "<|tool_call_begin|>"],
        between: ["<|tool_call_end|>"],
        closes: ["<|tool_calls_section_end|>"],
      },
    ],
    calls_end_thoughts: true,
  }),
  format("deepseek-tags", ["｜DSML｜"], { calls: [tags("｜DSML｜function_calls"), tags("｜DSML｜tool_calls")] }),
  format("deepseek", ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"], {
    calls: [
      {
        opens: ["<｜tool▁calls▁begin｜>", "<｜tool▁calls｜>", "<｜tool▁call▁begin｜>"],
        between: ["<｜tool▁call▁end｜>"],
        closes: ["<｜tool▁calls▁end｜>"],
      },
    ],
  }),
  format("minimax", ["minimax:tool_call"], { calls: [tags("minimax:tool_call")] }),
  format("seed", ["seed:tool_call"], { calls: [tags("seed:tool_call")] }),
  format("cohere", ["<|START_ACTION|>"], {
    calls: [within("<|START_ACTION|>", "<|END_ACTION|>")],
    around_content: ["<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"],
  }),
  format("command-r", ["Action:"], {
    calls: [
      {
        opens: ["Action:\n```json", "Action: ```json", "Action:```json", "Action:\n```"],
        between: [],
        closes: ["```"],
      },
    ],
    around_content: ["<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"],
  }),
  format("mistral", ["[TOOL_CALLS]"], { calls: [from("[TOOL_CALLS]")] }),
  format("apertus", ["<|tools_prefix|>"], {
    calls: [within("<|tools_prefix|>", "<|tools_suffix|>")],
    names_are_keys: true,
  }),
  format("solar", ["<|tool_calls|>"], {
    calls: [{ opens: ["<|tool_calls|>", "<|tool_call:begin|>"], between: ["<|tool_call:end|>"], closes: [] }],
    around_content: ["<|begin|>assistant", "<|content|>", "<|end|>"],
  }),
  format("gigachat", ["<|function_call|>"], { calls: [from("<|function_call|>")] }),
  format("gigachat-3", ["<|message_sep|>"], { calls: [from("<|message_sep|>\n\nfunction call<|role_sep|>")] }),
  format("gemma-4", ["<|tool_call>"], { calls: [within("<|tool_call>", "<tool_call|>")] }),
  format("functiongemma", ["<start_function_call>"], {
    calls: [within("<start_function_call>", "<end_function_call>")],
  }),
  format("nemotron", ["<TOOLCALL>"], { calls: [within("<TOOLCALL>", "</TOOLCALL>")] }),
  format("liquid", ["List of tools: "], {
    calls: [within("<|tool_call_start|>", "<|tool_call_end|>")],
    bare: "python",
  }),
  format("list", ["<|tool_call|>", "<|tool|>"], {
    calls: [{ opens: ["<|tool_call|>"], between: [], closes: ["<|/tool_call|>", "</|tool_call|>"] }],
    around_content: ["<response>", "</response>"],
  }),
  format("firefunction", ["functools["], { calls: [from("functools[")] }),
  format("apriel", ["<tool_calls>"], {
    calls: [within("<tool_calls>", "</tool_calls>")],
    around_content: ["[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"],
  }),
  format("olmo", ["<function_calls>"], { calls: [within("<function_calls>", "</function_calls>")] }),
  format("qwen-coder", ["<function="], {
    calls: [{ opens: ["<tool_call>", "<function="], between: [], closes: ["</tool_call>"] }],
  }),
  format("glm", ["<arg_key>"], { calls: [tags("tool_call")] }),
  format("hermes", ["<tool_call>"], { calls: [tags("tool_call")] }),
  format("llama", ["<|python_tag|>", '"parameters": dictionary'], { calls: [from("<|python_tag|>")], bare: "json" }),
];

function format(
  name: string,
  evidence: readonly string[],
  parts: Partial<Omit<AnswerFormat, "name" | "evidence">>,
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
