/** Responses of the default model through the front door: a talk over a restart, calls by grammar, and its own tokens. */

import { expect, test } from "bun:test";
import OpenAI from "openai";
import { scratchFolder } from "../formats/scratch.ts";
import { MODEL, Served } from "../served.ts";

const HOME = scratchFolder();

const openai = ({ url }: Served) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

const closed = (properties: object) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});

test("a talk goes on over a restart, its calls have their form, and its tokens are those that were counted", async () => {
  let id = "";
  {
    await using before = await Served.start([], { home: HOME });
    const input = "What is the capital of France?";
    const first = await openai(before).responses.create({ model: MODEL, input, max_output_tokens: 40 });
    expect(first.output_text).toContain("Paris");
    id = first.id;
    const { body } = await before.ask("POST", "/tokenize", { messages: [{ role: "user", content: input }] });
    expect(body).toMatchObject({ count: first.usage?.input_tokens ?? 0 });
    expect(await before.stop()).toBe(0);
  }
  await using after = await Served.start([], { home: HOME });
  const client = openai(after);
  const tools: OpenAI.Responses.FunctionTool[] = [
    {
      type: "function",
      name: "weather",
      description: "Tells the weather",
      parameters: closed({ city: { enum: ["Oslo", "Rome"] } }),
      strict: true,
    },
    { type: "function", name: "clock", parameters: closed({}), strict: true },
  ];
  let previous = id;
  let input: OpenAI.Responses.ResponseInput = [{ role: "user", content: "And how is the weather in Oslo?" }];
  for (const name of ["weather", "clock"]) {
    const tool_choice = { type: "function", name } as const;
    const shared = { model: MODEL, tools, parallel_tool_calls: false, max_output_tokens: 60 };
    const stream = client.responses.stream({ ...shared, input, previous_response_id: previous, tool_choice });
    const response = await stream.finalResponse();
    const call = response.output.find((item) => item.type === "function_call");
    expect([call?.name, Object.keys(JSON.parse(call?.arguments ?? ""))]).toEqual([
      name,
      name === "weather" ? ["city"] : [],
    ]);
    previous = response.id;
    input = [{ type: "function_call_output", call_id: call?.call_id ?? "", output: "clear" }];
  }
  const last = await client.responses.create({
    model: MODEL,
    input,
    previous_response_id: previous,
    max_output_tokens: 5,
  });
  expect(last.usage?.input_tokens).toBeGreaterThan(100);
  const items = await Array.fromAsync(client.responses.inputItems.list(last.id, { order: "asc" }));
  expect(items.map(({ type }) => type)).toEqual([
    "message",
    "message",
    "message",
    "function_call",
    "function_call_output",
    "function_call",
    "function_call_output",
  ]);
  expect(await after.stop()).toBe(0);
}, 120_000);
