/** Answers that go on with the last message: everything real but the tokens that the engine draws. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import { type Listening, listen } from "../../src/http/listen.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { type ScriptedModel, scriptedModel } from "./scripted-model.ts";

const FOLDER = scratchFolder();
const TURNS = `{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</{{ m.role }}>{% endfor -%}
{% if add_generation_prompt %}<assistant>{% endif %}`;
/** Answers of its own in it begin with a thought that was closed. */
const THINKER = `{% for m in messages %}{{ m.role }}:{% if m.role == "assistant" %}<think></think>{% endif -%}
{{ m.content }}{% endfor %}{% if add_generation_prompt %}assistant:<think>{% endif %}{# <tool_call> #}`;
const ALWAYS = "{% for m in messages %}{{ m.content }};{% endfor %}A:";
const HARMONY = `{% for m in messages %}<|start|>{{ m.role }}{% if m.role == "assistant" %}<|channel|>final{% endif -%}
<|message|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif -%}
{# <|channel|>analysis #}`;
const MARKS = ["<|start|>", "<|channel|>", "<|message|>"];

const ASK = { role: "user", content: "Count" } as const;
const BEGUN = { role: "assistant", content: "One, two" } as const;
const TALK = [ASK, BEGUN];
const CLOCK = { name: "clock", input_schema: { type: "object" } } as const;

let turns: ScriptedModel;
let thinker: ScriptedModel;
let always: ScriptedModel;
let harmony: ScriptedModel;
let listening: Listening;
let anthropic: Anthropic;

beforeAll(() => {
  const model = (name: string, template: string, control: readonly string[] = []) => {
    mkdirSync(join(FOLDER, name), { recursive: true });
    return scriptedModel(join(FOLDER, name), template, control);
  };
  turns = model("turns", TURNS);
  thinker = model("thinker", THINKER);
  always = model("always", ALWAYS);
  harmony = model("harmony", HARMONY, MARKS);
  listening = listen(turns.server.app, { host: "127.0.0.1", port: 0 });
  anthropic = new Anthropic({ baseURL: listening.url, apiKey: "none", maxRetries: 0 });
});

beforeEach(() => {
  for (const { answers, prompts } of [turns, thinker, always, harmony]) answers.length = prompts.length = 0;
});

afterAll(async () => {
  await listening.stop();
  for (const model of [turns, thinker, always, harmony]) await model[Symbol.asyncDispose]();
});

async function chat(body: object, model = turns): Promise<string> {
  const response = await model.server.post("/v1/chat/completions", { model: "tiny", messages: TALK, ...body });
  const { choices, error } = (await response.json()) as {
    choices?: { message: { content: string; reasoning_content?: string } }[];
    error?: { message: string };
  };
  expect(choices?.[0]?.message.reasoning_content).toBeUndefined();
  return choices?.[0]?.message.content ?? `${response.status} ${error?.message}`;
}

async function message(body: object, model = turns): Promise<string> {
  const asked = { model: "tiny", max_tokens: 64, messages: TALK, ...body };
  const response = await model.server.post("/v1/messages", asked);
  const { content, error } = (await response.json()) as {
    content?: { text: string }[];
    error?: { message: string };
  };
  return content?.map(({ text }) => text).join("|") ?? `${response.status} ${error?.message}`;
}

describe("Anthropic's last turn of the assistant", () => {
  test("is what the answer goes on with, and the answer has only what is new", async () => {
    turns.answers.push(", three");
    const asked = { model: "tiny", max_tokens: 64, messages: [...TALK] };
    const answer = await anthropic.messages.create(asked);
    expect(answer.content).toEqual([{ type: "text", text: ", three", citations: null }]);
    expect(turns.prompts).toEqual(["<user>Count</user><assistant>One, two"]);
    const { input_tokens } = await anthropic.messages.countTokens({ model: "tiny", messages: [...TALK] });
    const { usage } = answer;
    expect(input_tokens).toBe(usage.input_tokens + (usage.cache_read_input_tokens ?? 0));
  });

  test("is so in a stream, with the space that the answer begins with", async () => {
    turns.answers.push(" three  four");
    const stream = anthropic.messages.stream({ model: "tiny", max_tokens: 64, messages: [...TALK] });
    expect(await stream.finalText()).toBe(" three  four");
  });

  test("may be two turns, or blocks, or say nothing", async () => {
    const more = { role: "assistant", content: [{ type: "text", text: ", three" }] };
    await message({ messages: [...TALK, more] });
    await message({ messages: [ASK, { role: "assistant", content: "" }] });
    expect(turns.prompts).toEqual(["<user>Count</user><assistant>One, two, three", "<user>Count</user><assistant>"]);
  });

  test("is refused where the answer cannot go on with it", async () => {
    const call = { type: "tool_use", id: "a", name: "clock", input: {} };
    const last = (content: unknown) => ({ messages: [ASK, { role: "assistant", content }] });
    const cases: [object, string][] = [
      [last("One "), "final assistant content cannot end with trailing whitespace"],
      [last([{ type: "thinking", thinking: "hm" }]), "the last is a thought only, expected text to go on with"],
      [last([call]), "the last calls tools, expected their results behind it"],
    ];
    for (const [body, state] of cases) expect(await message(body)).toBe(`400 Cannot use "messages": ${state}`);
    const begun = "the last message is the assistant's, and has begun the answer";
    const thinking = { type: "enabled", budget_tokens: 1024 };
    expect(await message({ thinking })).toBe(`400 Cannot use "thinking": ${begun}`);
    const format = { type: "json_schema", schema: { type: "object" } };
    expect(await message({ output_config: { format } })).toBe(`400 Cannot use "output_config.format.schema": ${begun}`);
    expect(await message({ tools: [CLOCK], tool_choice: { type: "any" } })).toStartWith('400 Cannot use "tool_choice"');
    expect(turns.prompts).toBeEmpty();
  });
});

describe("OpenAI's last message of the assistant", () => {
  test("is a turn of its own, unless it is said to go on, in one way or another", async () => {
    const end = "<user>Count</user><assistant>One, two";
    const wishes: [object, string][] = [
      [{}, `${end}</assistant><assistant>`],
      [{ add_generation_prompt: true, continue_final_message: false }, `${end}</assistant><assistant>`],
      [{ add_generation_prompt: false }, `${end}</assistant>`],
      [{ continue_final_message: true }, end],
      [{ continue_final_message: true, add_generation_prompt: false }, end],
      [{ messages: [ASK, { ...BEGUN, prefix: true }] }, end],
      [
        { messages: [ASK, { ...BEGUN, content: "1\n" }], continue_final_message: true },
        "<user>Count</user><assistant>1\n",
      ],
    ];
    for (const [wish] of wishes) {
      turns.answers.push("!");
      expect(await chat(wish)).toBe("!");
    }
    expect(turns.prompts).toEqual(wishes.map(([, prompt]) => prompt));
  });

  test("is refused where the answer cannot go on with it", async () => {
    const go_on = { continue_final_message: true };
    const calls = [{ id: "a", type: "function", function: { name: "clock", arguments: "{}" } }];
    const tool = { type: "function", function: { name: "clock" } };
    const cases: [object, string][] = [
      [
        { ...go_on, messages: [ASK] },
        '"continue_final_message": the last message is of the role "user", expected "assistant"',
      ],
      [
        { ...go_on, add_generation_prompt: true },
        '"add_generation_prompt": "continue_final_message" says that the answer has begun',
      ],
      [
        { ...go_on, messages: [ASK, { ...BEGUN, tool_calls: calls }] },
        '"continue_final_message": the last message calls tools, so that it has ended',
      ],
      [
        { messages: [{ ...BEGUN, prefix: true }, ASK] },
        '"messages[0].prefix": only the last message can be gone on with',
      ],
      [{ messages: [{ ...ASK, prefix: true }] }, '"messages[0].prefix": the role is "user", only "assistant" has it'],
      [
        { ...go_on, tools: [tool], tool_choice: "required" },
        '"tool_choice": the last message has begun the answer with text, and a call that must come would begin it',
      ],
    ];
    for (const [body, state] of cases) expect(await chat(body)).toBe(`400 Cannot use ${state}`);
    const bare = await chat({ add_generation_prompt: false }, always);
    expect(bare).toBe(`400 Cannot use "add_generation_prompt": the model's chat template always begins an answer`);
  });

  test("is told as tokens and as text as it is read", async () => {
    const body = { messages: TALK, continue_final_message: true, model: "tiny" };
    const { prompt } = (await (await turns.server.post("/apply-template", body)).json()) as { prompt: string };
    expect(prompt).toBe("<user>Count</user><assistant>One, two");
    const { count } = (await (await turns.server.post("/tokenize", body)).json()) as { count: number };
    expect(count).toBe(prompt.length);
  });
});

describe("what goes on with text", () => {
  const go_on = { continue_final_message: true };

  test("is no thought, where the template begins answers with one", async () => {
    thinker.answers.push("<think> is a tag", ", three");
    expect(await chat(go_on, thinker)).toBe("<think> is a tag");
    expect(await message({ thinking: { type: "adaptive" } }, thinker)).toBe(", three");
    const prompt = "user:Countassistant:<think></think>One, two";
    expect(thinker.prompts).toEqual([prompt, prompt]);
  });

  test("is of the form that is asked for, and within the message that was begun", async () => {
    for (const [model, end] of [
      [turns, "<user>Count</user><assistant>One, two"],
      [harmony, "<|start|>user<|message|>Count<|end|><|start|>assistant<|channel|>final<|message|>One, two"],
    ] as const) {
      model.answers.push("three 4 five");
      expect(await chat({ ...go_on, guided_regex: "[0-9]" }, model)).toBe("4");
      expect(model.prompts).toEqual([end]);
    }
  });

  test("may call tools behind it", async () => {
    thinker.answers.push(', then.\n<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>');
    const body = { model: "tiny", max_tokens: 128, messages: TALK, tools: [CLOCK] };
    const answer = await (await thinker.server.post("/v1/messages", body)).json();
    expect(answer).toMatchObject({
      content: [
        { type: "text", text: ", then." },
        { type: "tool_use", name: "clock", input: {} },
      ],
      stop_reason: "tool_use",
    });
  });
});
