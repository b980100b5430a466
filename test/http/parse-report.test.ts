/** What of an answer is no call is told in every dialect: in words as content, and apart for programs. */

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { scratchFolder } from "../formats/scratch.ts";
import { scriptedModel } from "./scripted-model.ts";

const TEMPLATE = "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}{# <tool_call> #}";
const model = scriptedModel(scratchFolder(), TEMPLATE);
const BROKEN = '<tool_call>{"name": 7 </tool_call>';
const ASK = { model: "tiny", messages: [{ role: "user", content: "Oslo?" }] };
const CLOCK = { name: "clock", parameters: { type: "object", properties: {} } };
const REPORT = [{ trouble: "malformed", reason: 'expected "," or "}"', text: '<tool_call>{"name": 7 ' }];

const DIALECTS: readonly [path: string, body: object][] = [
  ["/v1/chat/completions", { ...ASK, tools: [{ type: "function", function: CLOCK }] }],
  ["/v1/messages", { ...ASK, max_tokens: 99, tools: [{ name: "clock", input_schema: CLOCK.parameters }] }],
  ["/api/chat", { ...ASK, tools: [{ type: "function", function: CLOCK }] }],
  ["/v1/responses", { model: "tiny", input: "Oslo?", tools: [{ type: "function", ...CLOCK, strict: false }] }],
];

beforeEach(() => {
  model.answers.length = 0;
});
afterAll(async () => await model[Symbol.asyncDispose]());

describe.each(DIALECTS)("%s", (path, body) => {
  const answer = async (words: string, stream: boolean) => {
    model.answers.push(words);
    return await (await model.server.post(path, { ...body, stream })).text();
  };

  test.each([false, true])("tells of a call that is none, stream %p", async (stream) => {
    const text = await answer(`Well: ${BROKEN}`, stream);
    expect(text).toContain(`"parse_report":${JSON.stringify(REPORT)}`);
    expect(text.replaceAll("\\", "")).toContain('"name": 7');
  });

  test.each([false, true])("has no such field where all was understood, stream %p", async (stream) => {
    const text = await answer('<tool_call>{"name": "clock", "arguments": {}}</tool_call>', stream);
    expect(text).toContain("clock");
    expect(text).not.toContain("parse_report");
  });
});

test("what a call holds beside its name and arguments is in the report", async () => {
  const [path, body] = DIALECTS[0] ?? ["", {}];
  model.answers.push('<tool_call>{"name": "clock", "mood": "odd", "arguments": {}}</tool_call>');
  const { choices } = (await (await model.server.post(path, body)).json()) as { choices: object[] };
  expect(choices).toMatchObject([
    { finish_reason: "tool_calls", parse_report: [{ trouble: "ignored", text: expect.stringContaining("odd") }] },
  ]);
});
