/** What relatives of OpenAI's chats have brought up: each parameter has its effect, or is refused by its name. */

import { afterAll, describe, expect, test } from "bun:test";
import { ALL_TOKENS } from "../../src/core/generation.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { ScriptedBackend, serverOf } from "./scripted-backend.ts";
import { scriptedModel } from "./scripted-model.ts";

const CHAT = "/v1/chat/completions";
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const OBJECT = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
const tool = (name: string) => ({ type: "function", function: { name, parameters: { type: "object" } } });
const named = (name: string) => ({ type: "function", function: { name } });
const TOOLS = { tools: [tool("look"), tool("jump"), tool("wait")] };
const allowed = (mode: string, ...names: string[]) => ({
  ...TOOLS,
  tool_choice: { type: "allowed_tools", allowed_tools: { mode, tools: names.map(named) } },
});

async function refusal(body: object): Promise<string> {
  const response = await serverOf(new ScriptedBackend()).post(CHAT, { ...HI, ...body });
  const { error } = (await response.json()) as { error?: { message: string; param: string } };
  return `${response.status} ${error?.message}`;
}

describe("arrives in the neutral form:", () => {
  const cases: [object, object][] = [
    [{ repeat_penalty: 1.1 }, { sampling: { repetition_penalty: 1.1 } }],
    [{ repeat_penalty: 1.1, repetition_penalty: 1.1 }, { sampling: { repetition_penalty: 1.1 } }],
    [
      { top_k: 5, min_p: 0.1, stop_token_ids: [7] },
      { sampling: { top_k: 5, min_p: 0.1 }, stop_token_ids: [7] },
    ],
    [{ reasoning: { effort: "high" } }, { reasoning: { effort: "high", tokens_max: null } }],
    [{ reasoning: { effort: "high" }, reasoning_effort: "high" }, { reasoning: { effort: "high" } }],
    [{ reasoning: { max_tokens: 64, exclude: false } }, { reasoning: { effort: null, tokens_max: 64 } }],
    [{ reasoning: { enabled: false } }, { reasoning: { effort: "none" } }],
    [{ reasoning: { enabled: true } }, { reasoning: { effort: "medium", tokens_max: ALL_TOKENS } }],
    [{ thinking: { type: "disabled" } }, { reasoning: { effort: "none" } }],
    [{ thinking: { type: "enabled", budget_tokens: 64 } }, { reasoning: { tokens_max: 64 } }],
    [{ enable_thinking: false }, { template_options: { enable_thinking: false } }],
    [{ verbosity: "low" }, { template_options: { verbosity: "low" } }],
    [{ verbosity: "medium" }, { template_options: {} }],
    [{ ttl: 60 }, { keep_s: 60 }],
    [{ grammar: 'root ::= "a"' }, { constraint: { kind: "grammar", parameter: "grammar" } }],
    [{ json_schema: OBJECT }, { constraint: { kind: "json_schema", parameter: "json_schema", schema: OBJECT } }],
    [
      { response_format: { type: "json_object", schema: OBJECT } },
      { constraint: { kind: "json_schema", parameter: "response_format.schema", schema: OBJECT } },
    ],
    [allowed("auto", "jump", "wait"), { tools: [{ name: "jump" }, { name: "wait" }], tool_choice: { kind: "auto" } }],
    [allowed("required", "jump"), { tools: [{ name: "jump" }], tool_choice: { kind: "required" } }],
  ];
  test.each(cases)("%j", async (wish, expected) => {
    const backend = new ScriptedBackend();
    const response = await serverOf(backend).post(CHAT, { ...HI, ...wish });
    expect(`${response.status} ${response.status === 200 ? "" : await response.text()}`).toBe("200 ");
    expect(backend.last).toMatchObject(expected);
  });
});

test("what is so anyway may be said, and nothing else of it", async () => {
  const anyway = {
    cache_prompt: true,
    include_reasoning: true,
    separate_reasoning: true,
    stream_reasoning: true,
    skip_special_tokens: true,
    include_stop_str_in_output: false,
    use_beam_search: false,
    add_special_tokens: false,
    length_penalty: 1,
    prompt_cache_retention: "24h",
  };
  expect((await serverOf(new ScriptedBackend()).post(CHAT, { ...HI, ...anyway })).status).toBe(200);
  for (const [name, value] of Object.entries(anyway)) {
    const other = typeof value === "boolean" ? !value : 7;
    const refused = await refusal({ [name]: other });
    expect(refused).toStartWith(`400 Cannot use "${name}": ${typeof value === "boolean" ? other : "expected"}`);
  }
});

test("marks of a cache are taken wherever Anthropic's clients by way of others put them", async () => {
  const cache_control = { type: "ephemeral" };
  const content = [{ type: "text", text: "x", cache_control }];
  const messages = [
    { role: "system", content, cache_control },
    { role: "user", content },
  ];
  expect((await serverOf(new ScriptedBackend()).post(CHAT, { ...HI, messages })).status).toBe(200);
});

describe("refused in a sentence:", () => {
  const cases: [object, string][] = [
    [{ repeat_penalty: 1.1, repetition_penalty: 1.2 }, '"repeat_penalty": "repetition_penalty" says 1.2, found 1.1'],
    [
      { reasoning: { effort: "low" }, reasoning_effort: "high" },
      '"reasoning.effort": "reasoning_effort" says high, found low',
    ],
    [{ reasoning: { exclude: true } }, '"reasoning.exclude": true is not supported yet, expected false'],
    [{ thinking: { type: "disabled", budget_tokens: 5 } }, '"thinking.budget_tokens": thinking is disabled'],
    [
      { grammar: 'root ::= "a"', guided_regex: "a" },
      '"grammar": "guided_regex" says what the answer is, expected one form',
    ],
    [allowed("auto", "fly"), '"tool_choice": no tool is named "fly"'],
    [{ mirostat: 2 }, '"mirostat": it is not supported yet'],
    [{ documents: [] }, '"documents": it is not supported yet'],
    [{ audio: { voice: "alloy", format: "wav" } }, '"audio": it is not supported yet'],
    [{ modalities: ["text", "audio"] }, '"modalities[1]": "audio" is not supported yet, expected "text"'],
    [{ web_search_options: {} }, '"web_search_options": it is not supported yet'],
    [{ store: true }, '"store": answers are not stored, expected false'],
    [{ max_token: 5 }, '"max_token": there is no such parameter, there is "max_tokens"'],
    [{ maxTokens: 5 }, '"maxTokens": there is no such parameter, there is "max_tokens"'],
    [{ "top-p": 5 }, '"top-p": there is no such parameter, there is "top_p"'],
    [{ tempreture: 1 }, '"tempreture": there is no such parameter, there is "temperature"'],
    [
      { stream_options: { include_usages: true } },
      '"stream_options.include_usages": there is no such parameter, there is "include_usage"',
    ],
    [{ unheard: 1 }, '"unheard": there is no such parameter'],
  ];
  test.each(cases)("%j", async (wish, sentence) => {
    expect(await refusal(wish)).toBe(`400 Cannot use ${sentence}`);
  });
});

describe("a chat template's own switches", () => {
  const TEMPLATE = `{% for m in messages %}{{ m.content }}{% endfor %};{{ verbosity }};{{ enable_thinking }};`;
  const knowing = scriptedModel(scratchFolder(), TEMPLATE);
  const plain = scriptedModel(scratchFolder(), "{% for m in messages %}{{ m.content }}{% endfor %}");
  afterAll(async () => {
    await knowing[Symbol.asyncDispose]();
    await plain[Symbol.asyncDispose]();
  });

  test("are told, and refused where there are none", async () => {
    const wishes = { verbosity: "high", enable_thinking: true };
    expect((await knowing.server.post(CHAT, { ...HI, ...wishes })).status).toBe(200);
    expect(knowing.prompts).toEqual(["hi;high;true;"]);
    for (const [name, value] of Object.entries(wishes)) {
      const response = await plain.server.post(CHAT, { ...HI, [name]: value });
      const { error } = (await response.json()) as { error: { message: string } };
      expect(error.message).toBe(`Cannot use "${name}": the model's chat template has no such option`);
    }
  });
});
