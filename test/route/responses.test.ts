/** OpenAI's responses on their way to providers: as they came, or through the neutral form. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { scratchFolder } from "../formats/scratch.ts";
import { closedAfterEach, openHouse, until } from "./house.ts";
import { strictAnthropic } from "./strict-anthropic.ts";
import { HAS_SCHEMAS, RESPONSE_STREAM, RESPONSE_WHOLE, strictOpenai } from "./strict-openai.ts";

setDefaultTimeout(30_000); // the provider compiles a schema of some hundred others
const FOLDER = scratchFolder();
const KEY = "sk-live-77";
const PATH = "/v1/responses";
const open = closedAfterEach();

let houses = 0;
async function houseWith(api_type: "openai" | "anthropic", base_url: string) {
  const house = openHouse({ folder: `${FOLDER}/${houses++}` });
  open.push(house.close);
  await house.set("providers", { name: "far", api_type, base_url, api_key: KEY, backend_type: "cloud" });
  return house;
}

const BODY = `{ "model":"far:gpt", "input" : "hi \\u00f6","store":true, "tools":[{"type":"web_search"}],
  "previous_response_id":"resp_theirs"STREAM}`;

for (const stream of [false, true]) {
  test.skipIf(!HAS_SCHEMAS)(
    `a provider of the same protocol is given every byte, and gives every byte${stream ? " of its stream" : ""}`,
    async () => {
      const server = strictOpenai(KEY);
      open.push(server.stop);
      const { send, rows } = await houseWith("openai", server.base_url);
      const asked = BODY.replace("STREAM", stream ? ',"stream":true' : "");
      const response = await send("POST", PATH, asked);
      expect([response.status, await response.text()]).toEqual([200, stream ? RESPONSE_STREAM : RESPONSE_WHOLE]);
      expect(server.arrived[0]).toMatchObject({ path: PATH, body: asked.replace("far:gpt", "gpt") });
      await until(() => rows().length === 1);
      expect(rows()).toMatchObject([
        { endpoint: "responses", status: "success", backend: "far", prompt_tokens: 81, completion_tokens: 17 },
      ]);
    },
  );
}

test.skipIf(!HAS_SCHEMAS)("a talk that is kept here goes on at a provider, in whole and in its own words", async () => {
  const server = strictOpenai(KEY);
  open.push(server.stop);
  const { send } = await houseWith("openai", server.base_url);
  const first = (await (await send("POST", PATH, { model: "tiny", input: "Hi" })).json()) as { id: string };
  const asked = { model: "far:gpt", input: "More", previous_response_id: first.id };
  const second = (await (await send("POST", PATH, asked)).json()) as { id: string; output: object[] };
  expect(server.arrived[0]?.path).toBe("/v1/chat/completions");
  expect(JSON.parse(server.arrived[0]?.body ?? "")).toMatchObject({
    messages: [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello, wörld" },
      { role: "user", content: "More" },
    ],
  });
  expect(second.output).toMatchObject([
    { type: "reasoning", content: [{ text: "hmm" }] },
    { type: "function_call", call_id: "call_1", name: "weather", arguments: '{"city": "Oslo"}' },
  ]);
  expect((await send("GET", `${PATH}/${second.id}`)).status).toBe(200);
  const cut = await send("POST", PATH, { ...asked, truncation: "auto" });
  expect([cut.status, await cut.text()]).toEqual([400, expect.stringContaining('Cannot use \\"truncation\\"')]);
});

test("a provider of another protocol answers through the neutral form, and the talk goes on with its signed thought", async () => {
  const server = strictAnthropic(KEY);
  open.push(server.stop);
  const { send } = await houseWith("anthropic", server.base_url);
  const tools = [
    { type: "function", name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
    { type: "function", name: "clock" },
  ];
  const asked = { model: "far:claude", tools, instructions: "Be kind", max_output_tokens: 9000 };
  const first = (await (
    await send("POST", PATH, { ...asked, input: "Weather?", reasoning: { effort: "high" } })
  ).json()) as { id: string; output: { type: string; call_id: string }[] };
  expect(first.output.map(({ type }) => type)).toEqual(["reasoning", "function_call", "function_call"]);
  const input = first.output
    .filter(({ type }) => type === "function_call")
    .map(({ call_id }) => ({ type: "function_call_output", call_id, output: "rain" }));
  const second = await send("POST", PATH, { ...asked, input, previous_response_id: first.id });
  expect(second.status).toBe(200);
  expect(server.bodies[1]).toMatchObject({
    system: "Be kind",
    max_tokens: 9000,
    messages: [
      { role: "user", content: "Weather?" },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "I need the clock", signature: "EqQBCkgIARABGAIiQ" },
          { type: "tool_use", id: "toolu_1" },
          { type: "tool_use", id: "toolu_2" },
        ],
      },
      { role: "user", content: [{ tool_use_id: "toolu_1" }, { tool_use_id: "toolu_2" }] },
    ],
  });
});
