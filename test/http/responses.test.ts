/** OpenAI's responses through the official client, unmodified: everything real but the tokens that the engine draws. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import OpenAI, { APIError } from "openai";
import { defaultSettings } from "../../src/core/settings.ts";
import { type Listening, listen } from "../../src/http/listen.ts";
import { openStore, type Store } from "../../src/store/database.ts";
import { StoredResponses } from "../../src/store/responses.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { failing, hello, readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";
import { type ScriptedModel, scriptedModel } from "./scripted-model.ts";

const FOLDER = scratchFolder();
const PATH = "/v1/responses";
const TEMPLATE = `{%- if tools %}[{% for t in tools %}{{ t.function.name }} {% endfor %}]<tool_call>{% endif -%}
{%- for m in messages %}<{{ m.role }}>{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}{{ m.content }}
{%- for c in m.tool_calls or [] %}#{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endfor -%}
<assistant>{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}`;

const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const TOOLS: OpenAI.Responses.FunctionTool[] = [
  { type: "function", name: "weather", description: "Sky", parameters: CITY, strict: false },
  { type: "function", name: "clock", parameters: { type: "object", properties: {} }, strict: false },
];
const OSLO = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>';
const TIME = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>';
const ALL = `<think>Hm</think>I look.\n${OSLO}\n${TIME}`;
const HI = { model: "tiny", input: "Hi" } as const;

let store: Store;
let model: ScriptedModel;
let listening: Listening;
let client: OpenAI;
const limits = { ...defaultSettings(2 ** 33) };
let now_ms = Date.parse("2026-11-21T12:00:00Z");

beforeAll(() => {
  mkdirSync(join(FOLDER, "tiny"), { recursive: true });
  store = openStore(join(FOLDER, "home"));
  const responses = new StoredResponses(store, limits, () => now_ms);
  model = scriptedModel(join(FOLDER, "tiny"), TEMPLATE, [], responses);
  listening = listen(model.server.app, { host: "127.0.0.1", port: 0 });
  client = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: "none", maxRetries: 0 });
});

beforeEach(() => {
  for (const list of [model.answers, model.prompts, model.prompt_ids]) list.length = 0;
});

afterAll(async () => {
  await listening.stop();
  await model[Symbol.asyncDispose]();
  store[Symbol.dispose]();
});

async function errorOf(promise: PromiseLike<unknown>): Promise<APIError> {
  const error = await Promise.resolve(promise).catch((error: unknown) => error);
  if (error instanceof APIError) return error;
  throw new Error(`Not an error of the client: ${Bun.inspect(error)}`);
}

async function refusal(body: object): Promise<{ message: string; param: string | null; status: number }> {
  const response = await model.server.post(PATH, body);
  const { error } = await readProblem(response);
  return { message: error.message, param: error.param, status: response.status };
}

interface Event {
  readonly type: string;
  readonly sequence_number: number;
  readonly response?: Record<string, unknown>;
  readonly item?: Record<string, unknown>;
}

/** As they came over the wire: each is named by its type. */
async function eventsOf(body: object, server = model.server): Promise<Event[]> {
  const text = await (await server.post(PATH, { ...body, stream: true })).text();
  expect(text).toEndWith("\n\n");
  return text
    .slice(0, -2)
    .split("\n\n")
    .map((block) => {
      const [name = "", data = ""] = block.split("\n");
      const event: Event = JSON.parse(data.slice("data: ".length));
      expect(name).toBe(`event: ${event.type}`);
      return event;
    });
}

/** Several deltas are one. */
const typesOf = (events: readonly Event[]) =>
  events.map(({ type }) => type).filter((type, index, all) => !type.endsWith(".delta") || all[index - 1] !== type);

describe("an answer", () => {
  test("has the thought, the text and the calls as items, and its usage", async () => {
    model.answers.push(ALL);
    const response = await client.responses.create({ ...HI, tools: TOOLS });
    expect(response).toMatchObject({ object: "response", status: "completed", error: null, output_text: "I look." });
    expect(response.output).toMatchObject([
      { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "Hm" }] },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "I look.", annotations: [] }] },
      { type: "function_call", name: "weather", arguments: '{"city": "Oslo"}', status: "completed" },
      { type: "function_call", name: "clock", arguments: "{}", status: "completed" },
    ]);
    const ids = response.output.map(({ id }) => id ?? "");
    expect(new Set(ids).size).toBe(4);
    const { usage } = response;
    expect(usage?.input_tokens).toBe(model.prompt_ids[0]?.length ?? 0);
    expect(usage?.output_tokens).toBe(ALL.length);
    const thought = usage?.output_tokens_details.reasoning_tokens ?? 0;
    expect(thought).toBeGreaterThanOrEqual("Hm".length);
    expect(thought).toBeLessThanOrEqual("<think>Hm</think>".length + 1);
  });

  test("in a stream has the events in OpenAI's order, numbered without a gap", async () => {
    model.answers.push(ALL);
    const events = await eventsOf({ ...HI, tools: TOOLS });
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
    const call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done"];
    expect(typesOf(events)).toEqual(
      [
        ...["created", "in_progress"],
        ...["output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"],
        ...["content_part.done", "output_item.done"],
        ...["output_item.added", "content_part.added", "output_text.delta", "output_text.done"],
        ...["content_part.done", "output_item.done"],
        ...[...call, "output_item.done"],
        ...[...call, "output_item.done"],
        "completed",
      ].map((name) => `response.${name}`),
    );
    expect(events[0]?.response).toMatchObject({ status: "in_progress", output: [], usage: { output_tokens: 0 } });
    const items = events.filter(({ type }) => type === "response.output_item.done").map(({ item }) => item);
    expect(events.at(-1)?.response).toMatchObject({ status: "completed", output: items });
  });

  test("is the same whole and streamed, and what the official client puts together is the last event's", async () => {
    model.answers.push(ALL, ALL);
    const whole = await client.responses.create({ ...HI, tools: TOOLS });
    const stream = client.responses.stream({ ...HI, tools: TOOLS });
    const said: string[] = [];
    stream.on("response.output_text.delta", ({ delta }) => said.push(delta));
    const streamed = await stream.finalResponse();
    expect(said.join("")).toBe("I look.");
    const plain = (text: string) => text.replace(/_[0-9a-f]{12}/g, "").replace(/call\d{5}/g, "call");
    const told = streamed.output.map((item) => JSON.parse(JSON.stringify(item)));
    for (const item of told) {
      delete item.parsed_arguments;
      for (const part of item.content ?? []) delete part.parsed;
    }
    expect(plain(JSON.stringify(told))).toBe(plain(JSON.stringify(whole.output)));
  });

  test("cut at its most tokens is incomplete, says why, and keeps the call as far as it came", async () => {
    const cut = OSLO.indexOf("Os") + 2;
    model.answers.push(OSLO, OSLO);
    const response = await client.responses.create({ ...HI, tools: TOOLS, max_output_tokens: cut });
    expect(response).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      completed_at: null,
      output: [{ type: "function_call", status: "incomplete", arguments: '{"city": "Os' }],
    });
    const events = await eventsOf({ ...HI, tools: TOOLS, max_output_tokens: cut });
    expect(events.at(-1)).toMatchObject({ type: "response.incomplete", response: { status: "incomplete" } });
  });

  test("without a word is an empty message", async () => {
    model.answers.push("");
    const response = await client.responses.create(HI);
    expect(response.output).toMatchObject([{ type: "message", content: [{ text: "" }], status: "completed" }]);
  });

  test("that fails within its stream ends as failed, with what had come, and is kept so", async () => {
    const { post, ask } = serverOf(new ScriptedBackend(failing(new Error("bug"), 2)));
    const events = await eventsOf(HI, { ...model.server, post });
    const last = events.at(-1)?.response ?? {};
    expect(typesOf(events).slice(-2)).toEqual(["response.output_text.delta", "response.failed"]);
    expect(events.at(-1)?.sequence_number).toBe(events.length - 1);
    expect(last).toMatchObject({ status: "failed", error: { code: "server_error" } });
    expect(last["output"]).toMatchObject([{ content: [{ text: "Hello" }], status: "incomplete" }]);
    expect(await (await ask(`${PATH}/${last["id"]}`)).json()).toEqual(last);
  });

  test("that fails before its first event is a status", async () => {
    const { post } = serverOf(new ScriptedBackend(failing(new Error("bug"), 0)));
    expect((await post(PATH, { ...HI, stream: true })).status).toBe(500);
  });

  test("has the form that was asked for, or its request is refused by the place in it", async () => {
    const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
    const text = { format: { type: "json_schema", name: "n", schema } } as const;
    model.answers.push('{"a": 5}');
    const parsed = await client.responses.parse({ ...HI, text });
    expect(parsed.output_parsed).toEqual({ a: 5 });
    expect(parsed.text?.format).toEqual({ ...text.format, strict: false });
    // The scripted model is held to the grammar as any other.
    model.answers.push('{"a": "x"}', '{"b": 1}');
    const held = await client.responses.parse({ ...HI, text });
    expect(held.output_parsed).toEqual({ a: expect.any(Number) });
    const object = await client.responses.create({ ...HI, text: { format: { type: "json_object" } } });
    expect(JSON.parse(object.output_text)).toEqual({ b: 1 });
    const wrong = { format: { ...text.format, schema: { unevaluatedProperties: false, type: "object" } } };
    expect(await refusal({ ...HI, text: wrong })).toMatchObject({ param: "text.format.schema", status: 400 });
  });

  test("tells how likely its tokens were where include asks for it", async () => {
    model.answers.push("ab", "ab");
    const include = ["message.output_text.logprobs"] as const;
    const response = await client.responses.create({ ...HI, include: [...include], top_logprobs: 0 });
    expect(response.output[0]).toMatchObject({
      content: [{ logprobs: [{ token: "a", logprob: -1 }, { token: "b" }] }],
    });
    const events = await eventsOf({ ...HI, include });
    expect(events.find(({ type }) => type === "response.output_text.delta")).toMatchObject({
      logprobs: [{ token: "a" }],
    });
  });

  test("repeats what was asked of it", async () => {
    const asked = {
      instructions: "Be kind",
      temperature: 0.5,
      top_p: 0.9,
      max_output_tokens: 50,
      metadata: { run: "7" },
      service_tier: "priority",
      tool_choice: "none",
      tools: TOOLS,
      parallel_tool_calls: false,
      truncation: "auto",
      user: "ada",
      safety_identifier: "x",
      prompt_cache_key: "k",
    } as const;
    const { tools, ...rest } = asked;
    const response = await client.responses.create({ ...HI, ...rest, tools: [...tools] });
    const { service_tier: _, ...told } = rest;
    expect(response).toMatchObject({ ...told, service_tier: "priority" });
    expect(response.tools).toMatchObject([{ name: "weather" }, { name: "clock", description: null }]);
    expect(model.prompts[0]).toBe("<system>Be kind<user>Hi<assistant>");
  });
});

describe("thoughts", () => {
  test("are told as their own summary where one is asked for", async () => {
    model.answers.push("<think>Hm</think>Yes.", "<think>Hm</think>Yes.");
    const wishes = { ...HI, reasoning: { summary: "auto" } } as const;
    const events = await eventsOf(wishes);
    expect(typesOf(events).slice(2, 8)).toEqual(
      [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
      ].map((name) => `response.${name}`),
    );
    const final = await client.responses.stream(wishes).finalResponse();
    expect(final.output[0]).toMatchObject({ type: "reasoning", summary: [{ type: "summary_text", text: "Hm" }] });
    expect(final.output[0]).not.toHaveProperty("content");
    const concise = await refusal({ ...HI, reasoning: { summary: "concise" } });
    expect(concise.param).toBe("reasoning.summary");
  });

  test("come back with a talk that nothing is kept of, also where only their encrypted form is sent", async () => {
    model.answers.push(`<think>Hm</think>${OSLO}`, "Clear.");
    const stateless = { model: "tiny", tools: TOOLS, store: false, include: ["reasoning.encrypted_content"] } as const;
    const first = await client.responses.create({ ...stateless, input: "Oslo?", include: [...stateless.include] });
    const hidden = first.output.map((item) => (item.type === "reasoning" ? { ...item, content: undefined } : item));
    const call = first.output.find((item) => item.type === "function_call");
    const output = { type: "function_call_output", call_id: call?.call_id ?? "", output: "clear" } as const;
    const input = [{ role: "user", content: "Oslo?" } as const, ...hidden, output];
    await client.responses.create({ ...stateless, input: input as OpenAI.Responses.ResponseInput, include: [] });
    expect(model.prompts[1]).toEndWith('<user>Oslo?<assistant>(Hm)#weather{"city": "Oslo"}<tool>clear<assistant>');
  });

  test("are switched by the effort, where the model's template has a switch", async () => {
    await client.responses.create({ ...HI, reasoning: { effort: "none" } });
    await client.responses.create({ ...HI, reasoning: { effort: "high" } });
    expect(model.prompts.map((prompt) => prompt.endsWith("<think></think>"))).toEqual([true, false]);
  });
});

describe("a talk that goes on from an answer", () => {
  test("has all that was said before, but not its instructions", async () => {
    model.answers.push("<think>Hm</think>Hello.", "Blue.", "Why?");
    const first = await client.responses.create({ ...HI, instructions: "Be kind" });
    const second = await client.responses.create({
      model: "tiny",
      previous_response_id: first.id,
      instructions: "Be short",
      input: [{ role: "user", content: "The sky?" }],
    });
    expect(model.prompts[1]).toBe("<system>Be short<user>Hi<assistant>(Hm)Hello.<user>The sky?<assistant>");
    await client.responses.create({ model: "tiny", previous_response_id: second.id, input: "And?" });
    expect(model.prompts[2]).toBe("<user>Hi<assistant>(Hm)Hello.<user>The sky?<assistant>Blue.<user>And?<assistant>");
    const branch = await client.responses.create({ model: "tiny", previous_response_id: first.id, input: "No." });
    expect(branch.previous_response_id).toBe(first.id);
    expect(model.prompts[3]).toBe("<user>Hi<assistant>(Hm)Hello.<user>No.<assistant>");
  });

  test("may name an item of it in place of repeating it", async () => {
    model.answers.push(OSLO);
    const first = await client.responses.create({ ...HI, tools: TOOLS });
    const [call] = first.output;
    if (call?.type !== "function_call") throw new Error("Not a call");
    const reference = { type: "item_reference", id: call.id ?? "" } as const;
    const output = {
      type: "function_call_output",
      call_id: call.call_id,
      output: [{ type: "input_text", text: "rain" }],
    } as const;
    await client.responses.create({
      model: "tiny",
      input: [{ role: "user", content: "Hi" }, reference, { ...output, output: [...output.output] }],
    });
    expect(model.prompts[1]).toBe('<user>Hi<assistant>#weather{"city": "Oslo"}<tool>rain<assistant>');
    const input = [{ type: "item_reference", id: "msg_no" }];
    expect(await refusal({ model: "tiny", input })).toMatchObject({ status: 404, param: "input[0].id" });
  });

  test("is refused where the answer is not known, or was not kept", async () => {
    model.answers.push("Hello.");
    const unkept = await client.responses.create({ ...HI, store: false });
    expect(unkept).toMatchObject({ store: false });
    for (const id of [unkept.id, "resp_none"]) {
      const error = await errorOf(client.responses.create({ ...HI, previous_response_id: id }));
      expect([error.status, error.code, error.param]).toEqual([
        404,
        "previous_response_not_found",
        "previous_response_id",
      ]);
      expect((await errorOf(client.responses.retrieve(id))).status).toBe(404);
    }
    const rows = JSON.stringify(store.tables.all("SELECT * FROM responses"));
    expect(rows).not.toContain(unkept.id);
  });

  for (const by of ["previous_response_id", "items sent again"]) {
    test(`calls two tools and answers with their results, by ${by}`, async () => {
      model.answers.push(`${OSLO}\n${TIME}`, "Clear at noon.");
      const run: Record<string, () => string> = { weather: () => "clear", clock: () => "noon" };
      let input: OpenAI.Responses.ResponseInput = [{ role: "user", content: "How is it?" }];
      let previous: string | null = null;
      for (let turn = 0; turn < 3; turn++) {
        const response: OpenAI.Responses.Response = await client.responses.create({
          model: "tiny",
          tools: TOOLS,
          input,
          previous_response_id: previous,
          store: by === "previous_response_id",
        });
        const calls = response.output.filter((item) => item.type === "function_call");
        if (calls.length === 0) {
          expect(response.output_text).toBe("Clear at noon.");
          break;
        }
        const results = calls.map(({ call_id, name }) => {
          return { type: "function_call_output", call_id, output: run[name]?.() ?? "" } as const;
        });
        if (by === "previous_response_id") [previous, input] = [response.id, results];
        else input = [...input, ...(response.output as OpenAI.Responses.ResponseInput), ...results];
      }
      expect(model.prompts).toHaveLength(2);
      expect(model.prompts[1]).toEndWith('#weather{"city": "Oslo"}#clock{}<tool>clear<tool>noon<assistant>');
    });
  }
});

describe("a kept answer", () => {
  test("is shown as it was given, and is gone when it is deleted", async () => {
    model.answers.push("Hello.");
    const given = await client.responses.create(HI);
    expect(await client.responses.retrieve(given.id)).toEqual(given);
    await client.responses.delete(given.id);
    expect((await errorOf(client.responses.retrieve(given.id))).status).toBe(404);
    expect((await errorOf(client.responses.delete(given.id))).status).toBe(404);
    const after = await errorOf(client.responses.create({ ...HI, previous_response_id: given.id }));
    expect(after.status).toBe(404);
  });

  test("lists what it was given to, the whole talk, in pages and either order", async () => {
    model.answers.push("One.", "Two.");
    const first = await client.responses.create({
      ...HI,
      input: [
        { role: "user", content: "a" },
        { role: "user", content: "b" },
      ],
    });
    const second = await client.responses.create({ ...HI, previous_response_id: first.id, input: "c" });
    const textsOf = (items: readonly object[]) =>
      items.map((item) => JSON.stringify(item).match(/"text":"([^"]*)"/)?.[1]);
    const all = await Array.fromAsync(client.responses.inputItems.list(second.id, { order: "asc", limit: 2 }));
    expect(textsOf(all)).toEqual(["a", "b", "One.", "c"]);
    expect(new Set(all.map(({ id }) => id)).size).toBe(4);
    const page = await client.responses.inputItems.list(second.id, { limit: 1 });
    expect([textsOf(page.data), page.has_more]).toEqual([["c"], true]);
    const next = await client.responses.inputItems.list(second.id, { after: page.data[0]?.id ?? "", limit: 3 });
    expect([textsOf(next.data), next.has_more]).toEqual([["One.", "b", "a"], false]);
    for (const query of ["limit=0", "order=up", "after=x", "include[]=a"]) {
      expect((await model.server.ask(`${PATH}/${second.id}/input_items?${query}`)).status).toBe(400);
    }
  });

  test("cannot be cancelled, and is not told piece by piece a second time", async () => {
    model.answers.push("Hello.");
    const { id } = await client.responses.create(HI);
    expect((await errorOf(client.responses.cancel(id))).status).toBe(400);
    expect((await errorOf(client.responses.cancel("resp_none"))).status).toBe(404);
    const again = await errorOf(client.responses.retrieve(id, { stream: true }));
    expect([again.status, again.param]).toEqual([400, "stream"]);
    expect(again.message).toContain('it was not asked for with "background": true');
  });

  test("goes after its days, and none is kept where the owner wants none", async () => {
    const before_ms = now_ms;
    const { id } = await client.responses.create(HI);
    now_ms += 29 * 86_400_000;
    expect((await client.responses.retrieve(id)).id).toBe(id);
    now_ms += 2 * 86_400_000;
    expect((await errorOf(client.responses.retrieve(id))).status).toBe(404);
    now_ms = before_ms;
    limits.responses_days = 0;
    try {
      const unkept = await client.responses.create(HI);
      expect(unkept).toMatchObject({ store: false });
      expect((await errorOf(client.responses.retrieve(unkept.id))).status).toBe(404);
      expect(await refusal({ ...HI, store: true })).toMatchObject({ status: 400, param: "store" });
    } finally {
      limits.responses_days = 30;
    }
  });
});

test("turns of one side that follow each other are one, the instructions and a developer's words too", async () => {
  const input = [
    { role: "developer", content: "Be short" },
    { role: "user", content: "a" },
    {
      role: "user",
      content: [
        { type: "input_text", text: "b" },
        { type: "input_text", text: "c" },
      ],
    },
    { role: "assistant", content: "x" },
    { type: "function_call", call_id: "1", name: "clock", arguments: "" },
    { type: "message", role: "assistant", content: [{ type: "refusal", refusal: "no" }] },
    { type: "function_call_output", call_id: "1", output: "noon" },
    { role: "user", content: "d" },
  ];
  await model.server.post(PATH, { model: "tiny", instructions: "Be kind", input });
  expect(model.prompts[0]).toBe(
    '<system>Be kind\n\nBe short<user>a\n\nbc<assistant>x\n\nno#clock""<tool>noon<user>d<assistant>',
  );
});

test("what is said of sampling, urgency and length reaches whoever answers", async () => {
  const backend = new ScriptedBackend(hello);
  const sampling = { temperature: 0.5, top_p: 0.9, top_k: 7, seed: 3, presence_penalty: 1, frequency_penalty: -1 };
  await serverOf(backend).post(PATH, { ...HI, ...sampling, service_tier: "flex", max_output_tokens: 9 });
  expect(backend.last).toMatchObject({ sampling, priority: 2, tokens_max: 9, logprobs: null, truncation: "disabled" });
});

test("an answer that cannot be kept fails, and says so", async () => {
  const responses = new StoredResponses(store, limits, () => now_ms);
  responses.save = () => {
    throw new Error("disk");
  };
  const { post, bugs } = serverOf(new ScriptedBackend(hello), undefined, undefined, { responses });
  expect((await post(PATH, HI)).status).toBe(500);
  const events = await eventsOf(HI, { ...model.server, post });
  expect(events.at(-1)).toMatchObject({ type: "response.failed", response: { error: { code: "server_error" } } });
  expect(bugs).toHaveLength(2);
});

describe("a choice of tools", () => {
  const asked = { ...HI, tools: TOOLS };

  test("offers all, none, or those that are allowed", async () => {
    const allowed = { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "clock" }] } as const;
    await client.responses.create({ ...asked, tool_choice: "none" });
    const answer = await client.responses.create({ ...asked, tool_choice: { ...allowed, tools: [...allowed.tools] } });
    expect(model.prompts[0]).toStartWith("<user>");
    expect(model.prompts[1]).toStartWith("[clock ]");
    expect(answer.tools).toHaveLength(2);
    expect(answer.tool_choice).toEqual({ ...allowed, tools: [...allowed.tools] });
  });

  test("has at most one call where parallel ones are not wanted", async () => {
    model.answers.push(`${OSLO}\n${TIME}`);
    const { output } = await client.responses.create({ ...asked, parallel_tool_calls: false });
    expect(output.map(({ type }) => type)).toEqual(["function_call"]);
  });

  test("may have namespaces, whose tools are called by their own names", async () => {
    const weather = { type: "function", name: "weather", parameters: CITY, strict: false };
    const space = { type: "namespace", name: "sky", description: "Of the sky.", tools: [weather] };
    const spaced = { ...HI, tools: [...TOOLS, space] };
    model.answers.push(OSLO.replace("weather", "sky__weather"), "Clear.");
    const body = (await (await model.server.post(PATH, spaced)).json()) as { output: { call_id: string }[] };
    expect(model.prompts[0]).toStartWith("[weather clock sky__weather ]");
    const told = [{}, {}, { ...space, tools: [{ ...weather, description: null }] }];
    expect(body).toMatchObject({ output: [{ namespace: "sky", name: "weather" }], tools: told });
    const output = { type: "function_call_output", call_id: body.output[0]?.call_id, output: "clear" };
    await model.server.post(PATH, { ...spaced, input: [{ role: "user", content: "Hi" }, ...body.output, output] });
    expect(model.prompts[1]).toContain('#sky__weather{"city": "Oslo"}<tool>clear');
    expect((await refusal({ ...HI, tools: [space, space] })).param).toBe("tools[1].tools[0].name");
  });

  test("of a tool that is not there is refused", async () => {
    const choice = { type: "function", name: "none" };
    expect(await refusal({ ...asked, tool_choice: choice })).toMatchObject({ param: "tool_choice", status: 400 });
    expect(await refusal({ ...HI, tool_choice: "required" })).toMatchObject({ param: "tool_choice", status: 400 });
    expect((await refusal({ ...asked, tools: [...TOOLS, ...TOOLS] })).param).toBe("tools[2].name");
  });
});

test("truncation leaves out the oldest turns of a talk that does not fit, and keeps the instructions", async () => {
  const talk = Array.from({ length: 40 }, (_, index) => [
    { role: "user", content: `q${index} ${"x".repeat(300)}` },
    { role: "assistant", content: `a${index}` },
  ]).flat();
  const asked = { model: "tiny", instructions: "Be kind", input: [...talk, { role: "user", content: "Last?" }] };
  expect((await refusal(asked)).message).toStartWith("Cannot fit the prompt");
  model.answers.push("Yes.");
  const response = await model.server.post(PATH, { ...asked, truncation: "auto", max_output_tokens: 100 });
  expect(response.status).toBe(200);
  const [prompt = ""] = model.prompts;
  expect(prompt).toStartWith("<system>Be kind<user>q");
  expect(prompt).toEndWith("<assistant>a39<user>Last?<assistant>");
  expect(prompt).not.toContain("q0 ");
  // As many turns as fit: one more would not.
  expect(prompt.length).toBeGreaterThan(8192 - 100 - 400);
  expect(prompt.length).toBeLessThanOrEqual(8192 - 100);
  const long = { ...asked, truncation: "auto", input: "x".repeat(9000) };
  expect((await refusal(long)).message).toStartWith("Cannot fit the prompt");
});

test("truncation of an agent's one long turn leaves out its oldest calls with their results", async () => {
  const work = Array.from({ length: 60 }, (_, index) => [
    { type: "function_call", call_id: `c${index}`, name: "weather", arguments: `{"city":"C${index}"}` },
    { type: "function_call_output", call_id: `c${index}`, output: `r${index} ${"y".repeat(200)}` },
  ]).flat();
  const input = [{ role: "user", content: "Go on" }, ...work];
  const response = await model.server.post(PATH, { model: "tiny", tools: TOOLS, input, truncation: "auto" });
  expect(response.status).toBe(200);
  const [prompt = ""] = model.prompts;
  expect(prompt).toMatch(/^\[weather clock \]<tool_call><user>Go on<assistant>#weather\{"city": "C[1-9]\d*"\}<tool>r/);
  expect(prompt).toContain("<tool>r59 ");
});

test("input tokens are counted as an answer's usage has them", async () => {
  const asked = { ...HI, instructions: "Be kind", tools: TOOLS };
  const { input_tokens } = await client.responses.inputTokens.count(asked);
  const { usage } = await client.responses.create(asked);
  expect(input_tokens).toBe(usage?.input_tokens ?? 0);
});

describe("is refused by name:", () => {
  const CASES: readonly [object, string][] = [
    [{ background: true, store: false }, "background"],
    [{ conversation: "c" }, "conversation"],
    [{ prompt: { id: "p" } }, "prompt"],
    [{ max_tool_calls: 1 }, "max_tool_calls"],
    [{ max_tokens: 5 }, "max_tokens"],
    [{ context_management: [{ type: "compaction" }] }, "context_management"],
    [{ tools: [{ type: "web_search" }] }, "tools[0].type"],
    [{ tools: [{ type: "mcp", server_label: "x" }] }, "tools[0].type"],
    [{ include: ["file_search_call.results"] }, "include[0]"],
    [{ top_logprobs: 2 }, "top_logprobs"],
    [{ text: { verbosity: "low" } }, "text.verbosity"],
    [{ stream_options: { include_obfuscation: true } }, "stream_options"],
    [{ input: [] }, "input"],
    [{ input: undefined }, "input"],
    [{ input: [{ role: "tool", content: "x" }] }, "input[0].role"],
    [{ input: [{ type: "web_search_call", id: "x" }] }, "input[0].type"],
    [{ input: [{ type: "function_call_output", call_id: "c", output: "x" }] }, "input[0].call_id"],
    [{ input: [{ role: "user", content: "x", name: "ada" }] }, "input[0].name"],
    [{ metadata: { a: "x".repeat(513) } }, "metadata.a"],
    [{ warmth: 1 }, "warmth"],
  ];
  for (const [wrong, param] of CASES) {
    test(JSON.stringify(wrong).slice(0, 60), async () => {
      const { status, ...found } = await refusal({ ...HI, ...wrong });
      expect([status, found.param]).toEqual([400, param]);
      expect(model.prompts).toBeEmpty();
    });
  }
});

test("a row of the audit tells of it", async () => {
  const { audit } = model.server;
  model.answers.push("Hello.");
  await (await model.server.post(PATH, HI)).text();
  expect(audit.at(-1)).toMatchObject({ endpoint: "responses", dialect: "openai", status: "success", backend: "local" });
});
