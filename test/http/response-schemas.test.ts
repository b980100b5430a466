/** Every body, item and event of a response against the published schemas: OpenAI's own, and those of Open Responses. */

import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { Failure } from "../../src/core/failure.ts";
import type { GenerationEvent } from "../../src/core/generation.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { ROOT } from "../root.ts";
import { openHouse } from "../route/house.ts";
import { strictAnthropic } from "../route/strict-anthropic.ts";
import { endless, failing, type Script, ScriptedBackend, serverOf } from "./scripted-backend.ts";
import { scriptedModel } from "./scripted-model.ts";
import { ScriptedShelf } from "./scripted-owner.ts";

const SPECS = join(ROOT, "../shared/data/api-specs");
const PATH = "/v1/responses";
const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const WEATHER = { type: "function", name: "weather", description: "Sky", parameters: CITY, strict: false };
const TOOLS = [WEATHER, { ...WEATHER, name: "clock", parameters: { type: "object", properties: {} } }];
const called = (name: string, json: string) => `<tool_call>\n{"name": "${name}", "arguments": ${json}}\n</tool_call>`;
const CALLS = `${called("weather", '{"city": "Oslo"}')}\n${called("clock", "{}")}`;
const THOUGHT = "<think>Hm</think>I look.";
/** What Open Responses wants to know in numbers is null where it was left to the model. */
const SAID = { model: "tiny", input: "Hi", temperature: 0.5, top_p: 0.9 };

const shelf = new ScriptedShelf();
const model = scriptedModel(
  scratchFolder(),
  "{# <tool_call> {{ tools }} #}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>",
  [],
  shelf,
);

beforeEach(() => {
  for (const list of [model.answers, model.prompts]) list.length = 0;
});
afterAll(() => model[Symbol.asyncDispose]());

type House = Pick<ReturnType<typeof serverOf>, "ask" | "post">;

interface Event {
  readonly type: string;
  readonly sequence_number: number;
  readonly output_index?: number;
  readonly item?: { readonly id: string; readonly content?: unknown };
  readonly response?: { readonly id: string; readonly output: object[]; readonly status: string };
}

interface AskedAnswer {
  readonly say: string;
  readonly more: object;
  readonly ends: string;
  /** What of its body Open Responses has a schema for; absent: all. */
  readonly open?: (body: object) => object;
}

const eventsIn = (text: string): Event[] =>
  [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => JSON.parse(data));

describe.skipIf(!existsSync(SPECS))("the published schemas hold for", () => {
  setDefaultTimeout(60_000); // a schema of some hundred others takes seconds to compile
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  for (const [name, file] of [
    ["openai", "openai_schemas_subset.json"],
    ["open", "openresponses_openapi.json"],
  ] as const) {
    if (existsSync(SPECS)) ajv.addSchema(JSON.parse(readFileSync(join(SPECS, file), "utf8")), name);
  }
  const faults = (name: string, value: unknown) => {
    const validate = ajv.getSchema(name.replace("#", "#/components/schemas/"));
    if (validate === undefined) throw new Error(`There is no schema ${name}`);
    return validate(value) === true ? "" : `${JSON.stringify(value)} ${ajv.errorsText(validate.errors)}`;
  };
  const bothHold = (body: object, open: AskedAnswer["open"] = (body) => body) => {
    expect(faults("openai#Response", body)).toBe("");
    expect(faults("open#ResponseResource", open(body))).toBe("");
  };
  /** `response.output_text.delta` is …OutputTextDelta…; of a thought's text Open Responses drops the word, OpenAI does not. */
  const openFaults = ({ response, ...event }: Event, open: AskedAnswer["open"] = (body) => body) => {
    const type = event.type.replace("reasoning_text", "reasoning");
    const name = type.replace("summary_text", "summary").replace(/(?:^|[._])(\w)/g, (_, first) => first.toUpperCase());
    return faults(`open#${name}StreamingEvent`, { ...event, type, ...(response && { response: open(response) }) });
  };
  const eventsHold = (events: readonly Event[], open?: AskedAnswer["open"] | null) => {
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
    for (const event of events) {
      expect(faults("openai#ResponseStreamEvent", event)).toBe("");
      if (open !== null) expect(openFaults(event, open)).toBe("");
    }
    inOrder(events);
  };

  test("schemas that would refuse something", () => {
    for (const name of ["openai#Response", "open#ResponseResource", "openai#ResponseStreamEvent", "open#ItemField"]) {
      expect(faults(name, { id: "x" })).not.toBe("");
    }
  });

  test("requests: every parameter is known by its name, and may be null where that is allowed", async () => {
    const named = (name: string): string[] => {
      const schema = ajv.getSchema(name)?.schema as { properties?: object; allOf?: ({ $ref?: string } & object)[] };
      const parts = (schema.allOf ?? []).flatMap((part) =>
        part.$ref ? named(`openai${part.$ref}`) : Object.keys(Reflect.get(part, "properties") ?? {}),
      );
      return [...Object.keys(schema.properties ?? {}), ...parts];
    };
    const all = ["openai#/components/schemas/CreateResponse", "open#/components/schemas/CreateResponseBody"];
    const names = new Set(all.flatMap(named));
    expect(names.size).toBeGreaterThan(30);
    for (const name of names) {
      const { error } = (await (await model.server.post(PATH, { ...SAID, [name]: null })).json()) as {
        error?: { message: string } | null;
      };
      const is_needed = ["model", "input"].includes(name);
      expect([name, error?.message ?? ""]).toEqual([name, is_needed ? expect.stringContaining("Cannot use") : ""]);
    }
  });

  const ANSWERS: Readonly<Record<string, AskedAnswer>> = {
    "a text": { say: "Hello.", more: {}, ends: "completed" },
    "no word": { say: "", more: {}, ends: "completed" },
    "a thought and calls": { say: THOUGHT + CALLS, more: { tools: TOOLS }, ends: "completed" },
    "a thought as its summary": { say: THOUGHT, more: { reasoning: { summary: "auto" } }, ends: "completed" },
    "a thought that may be sent back": {
      say: THOUGHT,
      more: { include: ["reasoning.encrypted_content"], store: false },
      ends: "completed",
    },
    "log probabilities": {
      say: "ab",
      more: { include: ["message.output_text.logprobs"], top_logprobs: 2 },
      ends: "completed",
    },
    "JSON of a schema": {
      say: '{"city": "Oslo"}',
      more: { text: { format: { type: "json_schema", name: "city", schema: CITY, strict: true } } },
      ends: "completed",
      // It has no place for the schema that was asked for, which OpenAI tells.
      open: (body) => ({ ...body, text: { format: { type: "text" } } }),
    },
    "a choice among tools": {
      say: "No.",
      more: {
        tools: TOOLS,
        tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "clock" }] },
        parallel_tool_calls: false,
      },
      ends: "completed",
    },
    "a text that is cut": { say: "Hello there.", more: { max_output_tokens: 3 }, ends: "incomplete" },
    "a thought that is cut": { say: "<think>Hm, hm, hm</think>", more: { max_output_tokens: 10 }, ends: "incomplete" },
    "a call that is cut": { say: CALLS, more: { tools: TOOLS, max_output_tokens: 70 }, ends: "incomplete" },
    "notes of the caller": {
      say: "Hello.",
      more: {
        metadata: { run: "7" },
        safety_identifier: "x",
        prompt_cache_key: "k",
        service_tier: "default",
        truncation: "auto",
        instructions: "Be kind",
      },
      ends: "completed",
    },
  };
  for (const [name, { say, more, ends, open }] of Object.entries(ANSWERS)) {
    test(`${name}, whole, in a stream, and in the background`, async () => {
      const asked = { ...SAID, ...more };
      if (!("max_output_tokens" in more)) expect(faults("openai#CreateResponse", asked)).toBe("");
      model.answers.push(say, say, say);
      const body = (await (await model.server.post(PATH, asked)).json()) as { status: string };
      bothHold(body, open);
      expect(body.status).toBe(ends);
      const events = eventsIn(await (await model.server.post(PATH, { ...asked, stream: true })).text());
      eventsHold(events, open);
      expect(events.at(-1)?.type).toBe(`response.${ends}`);
      if ("store" in more) return;
      const background = { ...asked, background: true, stream: true };
      const later = eventsIn(await (await model.server.post(PATH, background)).text());
      eventsHold(later, open);
      expect(later.slice(3).map(({ type }) => type)).toEqual(events.slice(2).map(({ type }) => type));
    });
  }

  test("a call of a custom tool", async () => {
    model.answers.push(called("patch", '{"input": "x"}'), called("patch", '{"input": "x"}'));
    const asked = {
      ...SAID,
      tools: [{ type: "custom", name: "patch" }],
      tool_choice: { type: "custom", name: "patch" },
    };
    expect(faults("openai#CreateResponse", asked)).toBe("");
    expect(faults("openai#Response", await (await model.server.post(PATH, asked)).json())).toBe("");
    const events = eventsIn(await (await model.server.post(PATH, { ...asked, stream: true })).text());
    expect(events.map(({ type }) => type)).toContain("response.custom_tool_call_input.done");
    eventsHold(events, null);
  });

  test("the items that an answer was given to", async () => {
    const input = [
      { role: "developer", content: "Be kind" },
      { role: "user", content: [{ type: "input_text", text: "Hi" }] },
      { type: "reasoning", summary: [{ type: "summary_text", text: "Hm" }], encrypted_content: "x" },
      { role: "assistant", content: [{ type: "refusal", refusal: "No" }] },
      { type: "function_call", call_id: "c", name: "clock", arguments: "{}" },
      { type: "function_call_output", call_id: "c", output: [{ type: "input_text", text: "noon" }] },
    ];
    const asked = { ...SAID, input };
    const { id } = (await (await model.server.post(PATH, asked)).json()) as { id: string };
    const next = { ...SAID, previous_response_id: id, input: "More" };
    const { id: last } = (await (await model.server.post(PATH, next)).json()) as { id: string };
    const page = (await (await model.server.ask(`${PATH}/${last}/input_items?limit=50`)).json()) as { data: object[] };
    expect(page.data).toHaveLength(input.length + 2);
    for (const item of page.data) expect(faults("open#ItemField", item)).toBe("");
  });

  test("a talk that is summed up, which goes on from its summary", async () => {
    const { id } = (await (await model.server.post(PATH, { ...SAID, input: "Name a city" })).json()) as { id: string };
    const asked = { model: "tiny", previous_response_id: id, input: "And a river", instructions: "Be kind" };
    expect(faults("open#CompactResponseMethodPublicBody", asked)).toBe("");
    model.answers.push("They want a city and a river.", "The Akerselva.");
    const body = (await (await model.server.post(`${PATH}/compact`, asked)).json()) as { output: object[] };
    expect(faults("open#CompactResource", body)).toBe("");
    expect(body.output).toMatchObject([
      { role: "user", content: [{ text: "Name a city" }] },
      { role: "user", content: [{ text: "And a river" }] },
      { type: "compaction" },
    ]);
    const [, said] = model.prompts;
    expect(said).toMatch(/^<system>Be kind<user>Name a city<assistant>.*<user>And a river\n\nSum up the talk so far/s);
    const next = { ...SAID, input: [...body.output, { role: "user", content: "Which?" }] };
    expect((await model.server.post(PATH, next)).status).toBe(200);
    expect(model.prompts[2]).toContain("And a river\n\n<summary>\nThey want a city and a river.\n</summary>\n\nWhich?");
    const foreign = await model.server.post(PATH, {
      ...SAID,
      input: [{ type: "compaction", encrypted_content: "gAAA" }],
    });
    expect([foreign.status, await foreign.text()]).toEqual([
      400,
      expect.stringContaining("another server has written it"),
    ]);
  });

  const broken = async (script: Script, end: (house: House) => Promise<unknown> = async () => undefined) => {
    const house = serverOf(new ScriptedBackend(script));
    const streaming = await house.post(PATH, { ...SAID, background: true, stream: true });
    await Bun.sleep(20);
    await end(house);
    const events = eventsIn(await streaming.text());
    eventsHold(events);
    const { response } = events.at(-1) ?? {};
    expect(await (await house.ask(`${PATH}/${response?.id}`)).json()).toEqual(response);
    return response?.status;
  };

  test("an answer that fails, within its stream or before, and one that is cancelled", async () => {
    expect(await broken(failing(new Error("bug"), 2))).toBe("failed");
    expect(await broken(failing(new Failure("overloaded", "Cannot go on: it is full"), 0))).toBe("failed");
    const cancel = (house: House) => house.ask(`${PATH}/resp_000000000001/cancel`, { method: "POST" });
    expect(await broken(endless, cancel)).toBe("cancelled");
    const { post } = serverOf(new ScriptedBackend(failing(new Error("bug"), 2)));
    const events = eventsIn(await (await post(PATH, { ...SAID, stream: true })).text());
    eventsHold(events);
    expect(events.at(-1)?.type).toBe("response.failed");
  });

  test("a provider's answer that is written here", async () => {
    const server = strictAnthropic("key");
    const house = openHouse({ folder: scratchFolder() });
    try {
      await house.set("providers", { name: "far", api_type: "anthropic", base_url: server.base_url, api_key: "key" });
      const asked = {
        ...SAID,
        model: "far:claude",
        tools: TOOLS,
        max_output_tokens: 9000,
        reasoning: { effort: "high" },
      };
      const { temperature: _, top_p: __, ...plain } = asked;
      const response = await house.send("POST", PATH, { ...plain, stream: true });
      expect(response.status).toBe(200);
      // Sampling was left to the model, which Open Responses has no word for.
      const said = (body: object) => ({ ...body, temperature: 1, top_p: 1 });
      const events = eventsIn(await response.text());
      eventsHold(events, said);
      bothHold((await (await house.send("POST", PATH, plain)).json()) as object, said);
      expect(events.map(({ type }) => type)).toContain("response.reasoning_text.delta");
    } finally {
      await house.close();
      await server.stop();
    }
  });

  test("an answer that begins to call and says more behind", async () => {
    const script = async function* (): AsyncGenerator<GenerationEvent> {
      yield { kind: "start", prompt_tokens: 5 };
      yield { kind: "call", choice: 0, index: 0, id: "c", name: "clock" };
      yield { kind: "arguments", choice: 0, index: 0, text: "{}" };
      yield { kind: "text", choice: 0, text: "So.", tokens: [] };
      yield { kind: "reasoning", choice: 0, text: "Hm" };
      yield { kind: "finish", choice: 0, reason: "tool_calls", stop_text: null };
      yield { kind: "end", usage: { prompt_tokens: 5, cached_tokens: 0, completion_tokens: 3, reasoning_tokens: 1 } };
    };
    const { post } = serverOf(new ScriptedBackend(script));
    const events = eventsIn(await (await post(PATH, { ...SAID, stream: true })).text());
    eventsHold(events);
    expect(events.at(-1)?.response?.output).toMatchObject([
      { type: "function_call" },
      { type: "message" },
      { type: "reasoning" },
    ]);
  });
});

/** Each item is added before anything of it, done behind all of it unless it fails, and stands in the last body as it is then. */
function inOrder(events: readonly Event[]): void {
  const items: object[] = [];
  let open: Event["item"] | null = null as Event["item"] | null;
  for (const { type, output_index, item } of events) {
    if (output_index === undefined) continue;
    expect(output_index).toBe(items.length);
    if (type === "response.output_item.added") {
      expect(open).toBeNull();
      open = item;
    } else expect(open).toBeTruthy();
    if (type !== "response.output_item.done") continue;
    expect(item?.id).toBe(open?.id ?? "");
    items.push(item ?? {});
    open = null;
  }
  expect(events[0]?.type).toBe("response.created");
  const ends = events.filter(({ type }) => /^response\.(?:completed|incomplete|failed)$/.test(type));
  expect(ends).toEqual(events.slice(-1));
  const rest = open === null ? [] : [{ ...open, status: "incomplete" }];
  expect(events.at(-1)?.response?.output).toMatchObject([...items, ...rest.map(({ content: _, ...item }) => item)]);
}
