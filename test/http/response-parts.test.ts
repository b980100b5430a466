/** What a response may be asked beside words and functions: images, files of text, custom tools. */

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { type Listening, listen } from "../../src/http/listen.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";
import { scriptedModel } from "./scripted-model.ts";

const PATH = "/v1/responses";
const PNG = "iVBORw0KGgoAAAANSUhEUg==";
const URL = "https://example.com/a.png";
const TEMPLATE = `{% for t in tools or [] %}[{{ t.function.name }}: {{ t.function.description }}]{% endfor %}
{%- for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}#{{ c.function.name }}{{ c.function.arguments | tojson }}
{%- endfor %}{% endfor %}<assistant>{# <tool_call> #}`;

const backend = new ScriptedBackend();
const house = serverOf(backend);
const model = scriptedModel(scratchFolder(), TEMPLATE);
const listening: Listening = listen(model.server.app, { host: "127.0.0.1", port: 0 });
const client = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: "none", maxRetries: 0 });

beforeEach(() => {
  for (const list of [model.answers, model.prompts, backend.requests]) list.length = 0;
});

afterAll(async () => {
  await listening.stop();
  await model[Symbol.asyncDispose]();
});

const ask = (input: unknown, more: object = {}) => ({ model: "tiny", input, ...more });
const user = (...content: object[]) => ({ role: "user", content });
const words = (text: string) => ({ type: "input_text", text });
const picture = (image_url: string, more: object = {}) => ({ type: "input_image", image_url, ...more });
const file = (text: string, media_type = "text/plain", filename: string | null = "a.txt") => {
  const base64 = Buffer.from(text).toString("base64");
  return { type: "input_file", filename, file_data: `data:${media_type};base64,${base64}` };
};

async function refusal(body: object): Promise<{ message: string; param: string | null; status: number }> {
  const response = await model.server.post(PATH, body);
  const { error } = await readProblem(response);
  return { message: error.message, param: error.param, status: response.status };
}

test("images stand in their places among the words, also where turns are joined", async () => {
  const input = [
    user(words("What is "), picture(`data:image/png;base64,${PNG}`), words("?")),
    user(picture(URL, { detail: "low" }), words("And this?")),
  ];
  const response = await house.post(PATH, ask(input));
  const { id } = (await response.json()) as { id: string };
  expect(backend.last.prompt).toEqual({
    kind: "messages",
    messages: [
      {
        role: "user",
        content: "What is ?\n\nAnd this?",
        images: [
          { at: 8, source: { kind: "data", media_type: "image/png", base64: PNG } },
          { at: 11, source: { kind: "url", url: URL }, detail: "low" },
        ],
      },
    ],
  });
  const items = await (
    await house.ask(`${PATH}/${id}/input_items?order=asc&include[]=message.input_image.image_url`)
  ).json();
  expect(items).toMatchObject({
    data: [{}, { content: [{ type: "input_image", image_url: URL, detail: "low" }, {}] }],
  });
});

test("images that calls have brought are shown behind all results", async () => {
  const calls = ["a", "b"].map((call_id) => ({ type: "function_call", call_id, name: "look", arguments: "{}" }));
  const output = [words("See:"), picture(URL)];
  const results = [
    { type: "function_call_output", call_id: "a", output },
    { type: "function_call_output", call_id: "b", output: "none" },
  ];
  await (await house.post(PATH, ask([user(words("Look")), ...calls, ...results]))).text();
  const { prompt } = backend.last;
  expect(prompt.kind === "messages" && prompt.messages.slice(2)).toEqual([
    { role: "tool", content: "See:", tool_call_id: "a" },
    { role: "tool", content: "none", tool_call_id: "b" },
    { role: "user", content: "", images: [{ at: 0, source: { kind: "url", url: URL } }] },
  ]);
});

test("a model that reads text only says so of images", async () => {
  const { message, status, param } = await refusal(ask([user(picture(URL))]));
  expect([status, message]).toEqual([400, 'Cannot look at images: model "tiny" reads text only']);
  expect(param).toBe("input");
  expect((await refusal(ask("x", { reasoning: { effort: "low" } }))).param).toBe("reasoning.effort");
});

test("files of text are given to the model with their names, and results of calls may be several parts", async () => {
  const call = { type: "function_call", call_id: "c", name: "read", arguments: "{}" };
  const output = [words("It says "), file('{"a":1}', "application/json", null)];
  await model.server.post(
    PATH,
    ask([user(file("Grüße"), words("Translate")), call, { type: "function_call_output", call_id: "c", output }]),
  );
  expect(model.prompts[0]).toBe(
    '<user><file name="a.txt">\nGrüße\n</file>\nTranslate<assistant>#read{}<tool>It says <file>\n{"a":1}\n</file>\n<assistant>',
  );
});

describe("a custom tool", () => {
  const PATCH = 'a "b"\n\\c\t😀é';
  const patch = { type: "custom", name: "patch", description: "Edits." } as const;
  const grammar = { type: "grammar", syntax: "lark", definition: "start: /x+/" } as const;
  const called = (args: string) => `<tool_call>\n{"name": "patch", "arguments": ${args}}\n</tool_call>`;

  test("is called with a text, whole and in a stream, and its result goes on", async () => {
    const escaped = JSON.stringify({ input: PATCH }).replace("😀", "\\ud83d\\ude00");
    model.answers.push(called(escaped), called(escaped), "Done.");
    const asked = {
      ...ask("Go"),
      tools: [{ ...patch, format: grammar }],
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming;
    const whole = await client.responses.create(asked);
    expect(model.prompts[0]).toStartWith("[patch: Edits.\n\nThe input has this form (lark):\nstart: /x+/]<user>Go");
    expect(whole.output).toMatchObject([{ type: "custom_tool_call", name: "patch", input: PATCH }]);
    expect(whole.tools).toEqual([{ ...patch, format: grammar }]);
    const events = await Array.fromAsync(await client.responses.create({ ...asked, stream: true }));
    const deltas = events.flatMap((event) =>
      event.type === "response.custom_tool_call_input.delta" ? [event.delta] : [],
    );
    expect(deltas.join("")).toBe(PATCH);
    expect(deltas.length).toBeGreaterThan(3);
    expect(deltas.every((delta) => delta.isWellFormed())).toBeTrue();
    const done = { type: "custom_tool_call", input: PATCH, status: "completed" };
    expect(events.filter(({ type }) => !type.endsWith(".delta")).slice(2)).toMatchObject([
      { type: "response.output_item.added", item: { input: "", status: "in_progress" } },
      { type: "response.custom_tool_call_input.done", input: PATCH },
      { type: "response.output_item.done", item: done },
      { type: "response.completed", response: { output: [done] } },
    ]);
    const [call] = whole.output;
    if (call?.type !== "custom_tool_call") throw new Error("Not a call");
    const output = { type: "custom_tool_call_output", call_id: call.call_id, output: "patched" } as const;
    const more = await client.responses.create({ ...asked, input: [{ role: "user", content: "Go" }, call, output] });
    expect(more.output_text).toBe("Done.");
    expect(model.prompts[2]).toEndWith(`#patch{"input": ${JSON.stringify(PATCH)}}<tool>patched<assistant>`);
  });

  test("that is called in another form is given all that was said", async () => {
    model.answers.push(called('{"patch": "x"}'));
    const { output } = await client.responses.create({
      ...ask("Go"),
      tools: [patch],
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming);
    expect(output).toMatchObject([{ type: "custom_tool_call", input: '{"patch": "x"}' }]);
  });

  test("may be the one that is chosen, alone or among those that are allowed", async () => {
    const chosen = { type: "custom", name: "patch" } as const;
    const clock = { type: "function", name: "clock", parameters: {}, strict: false } as const;
    const asked = { ...ask("Go"), tools: [patch, clock] } as OpenAI.Responses.ResponseCreateParamsNonStreaming;
    model.answers.push(called('{"input": "x"}'));
    const forced = await client.responses.create({ ...asked, tool_choice: chosen });
    expect(forced.output).toMatchObject([{ type: "custom_tool_call", name: "patch" }]);
    await client.responses.create({ ...asked, tool_choice: { type: "allowed_tools", mode: "auto", tools: [chosen] } });
    expect(model.prompts[1]).toStartWith("[patch: Edits.]<user>");
  });
});

describe("is refused by name:", () => {
  const CASES: readonly [string, object, string, string][] = [
    [
      "an image by id",
      ask([user({ type: "input_image", file_id: "f" })]),
      "input[0].content[0].file_id",
      "not supported",
    ],
    [
      "an image from a file",
      ask([user(picture("file:///x"))]),
      "input[0].content[0].image_url",
      "data URL of an image",
    ],
    ["an image of a system", ask([{ role: "system", content: [picture(URL)] }]), "input[0].content", "only a user"],
    ["a file by id", ask([user({ type: "input_file", file_id: "f" })]), "input[0].content[0].file_id", "not supported"],
    [
      "a file elsewhere",
      ask([user({ type: "input_file", file_url: URL })]),
      "input[0].content[0].file_url",
      "not supported",
    ],
    ["a PDF", ask([user(file("%PDF", "application/pdf"))]), "input[0].content[0].file_data", "a file of text"],
    ["sound", ask([user({ type: "input_audio" })]), "input[0].content[0].type", "not supported"],
    [
      "a tool that another server runs",
      ask("x", { tools: [{ type: "web_search" }] }),
      "tools[0].type",
      "not supported",
    ],
    [
      "a choice of none of the tools",
      ask("x", { tool_choice: { type: "custom", name: "x" } }),
      "tool_choice",
      "no tools",
    ],
  ];
  for (const [name, body, param, words] of CASES) {
    test(name, async () => {
      const found = await refusal(body);
      expect([found.status, found.param]).toEqual([400, param]);
      expect(found.message).toContain(words);
    });
  }

  test("a file whose bytes are no text", async () => {
    const bytes = { type: "input_file", file_data: "data:text/plain;base64,//79" };
    expect((await refusal(ask([user(bytes)]))).param).toBe("input[0].content[0].file_data");
  });
});
