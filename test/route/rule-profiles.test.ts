/** What a rule's profile adds to a request, wherever that goes, and what the owner's labels keep here. */

import { describe, expect, test } from "bun:test";
import { scratchFolder } from "../formats/scratch.ts";
import { closedAfterEach, type House, openHouse } from "./house.ts";

const FOLDER = scratchFolder();
const open = closedAfterEach();

let houses = 0;
function house(wishes: Partial<Parameters<typeof openHouse>[0]> = {}): House {
  const opened = openHouse({ folder: `${FOLDER}/${houses++}`, ...wishes });
  open.push(opened.close);
  return opened;
}

const ANTHROPIC_ANSWER = { type: "message", content: [], usage: { input_tokens: 1, output_tokens: 1 } };

/** Takes everything of either protocol, and remembers the bodies as they came. */
function provider() {
  const bodies: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      bodies.push(await request.text());
      return Response.json(request.url.endsWith("/messages") ? ANTHROPIC_ANSWER : { choices: [] });
    },
  });
  open.push(async () => await server.stop(true));
  return { bodies, base_url: `http://127.0.0.1:${server.port}/v1` };
}

const TERSE = {
  name: "terse",
  model: "tiny",
  system_prompt: "One word.",
  temperature: 0.25,
  top_p: 0.5,
  max_tokens: 9,
};
const USER = { role: "user", content: "hi" };

describe("a rule's profile", () => {
  async function ready() {
    const opened = house();
    const far = provider();
    await opened.set("profiles", TERSE);
    await opened.set("providers", { name: "cloud", api_type: "openai", base_url: far.base_url });
    const claude = { name: "claude", api_type: "anthropic", base_url: far.base_url, backend_type: "cloud" };
    await opened.set("providers", claude);
    const rule = { pattern_type: "exact", profile: "terse" };
    await opened.set("rules", { ...rule, model_pattern: "near", target: "local", target_model: "tiny" });
    await opened.set("rules", { ...rule, model_pattern: "far", target: "cloud" });
    await opened.set("rules", { ...rule, model_pattern: "opus", target: "claude" });
    return { ...opened, bodies: far.bodies };
  }

  test("says what a request leaves open, here", async () => {
    const { chat, send, backend, rows } = await ready();
    expect((await chat({ model: "near", messages: [USER] })).status).toBe(200);
    const system = { role: "system", content: "Be long." };
    const said = { temperature: 1, top_p: 1, max_tokens: 2, messages: [system, USER] };
    expect((await chat({ model: "near", ...said })).status).toBe(200);
    expect((await send("POST", "/v1/completions", { model: "near", prompt: "hi" })).status).toBe(200);
    expect(backend.requests).toMatchObject([
      {
        model: "tiny",
        prompt: { messages: [{ role: "system", content: "One word." }, USER] },
        sampling: { temperature: 0.25, top_p: 0.5 },
        tokens_max: 9,
      },
      { prompt: { messages: [system, USER] }, sampling: { temperature: 1, top_p: 1 }, tokens_max: 2 },
      { prompt: { kind: "text", text: "hi" }, sampling: { temperature: 0.25 } },
    ]);
    expect(rows().map(({ route_reason }) => route_reason)).toEqual(["rule 1", "rule 1", "rule 1"]);
  });

  test("is written into what goes to a provider of the same protocol, and all else stays as it came", async () => {
    const { send, bodies } = await ready();
    const post = async (path: string, body: string) => expect((await send("POST", path, body)).status).toBe(200);
    await post(
      "/v1/chat/completions",
      '{ "model":"far", "x": 1.0, "messages" : [{"role":"user","content":"\\u0068i"}]}',
    );
    await post("/v1/chat/completions", '{"model":"far","temperature":1,"max_completion_tokens":3,"messages":[]}');
    const developer = '{"model":"far","top_p":1,"temperature":1,"max_tokens":3,"messages":[{"role":"developer"}]}';
    await post("/v1/chat/completions", developer);
    await post("/v1/completions", '{"model":"far","prompt":"hi","max_tokens":1,"temperature":0}');
    await post("/v1/messages", '{"model":"opus","max_tokens":5,"messages":[]}');
    await post(
      "/v1/messages",
      '{"model":"opus","max_tokens":5,"system":"Long.","temperature":1,"top_p":1,"messages":[]}',
    );
    const system = '{"role":"system","content":"One word."}';
    expect(bodies).toEqual([
      `{"top_p":0.5,"temperature":0.25,"max_tokens":9, "model":"far", "x": 1.0, "messages" : [${system},{"role":"user","content":"\\u0068i"}]}`,
      `{"top_p":0.5,"model":"far","temperature":1,"max_completion_tokens":3,"messages":[${system}]}`,
      developer,
      '{"top_p":0.5,"model":"far","prompt":"hi","max_tokens":1,"temperature":0}',
      '{"system":"One word.","top_p":0.5,"temperature":0.25,"model":"opus","max_tokens":5,"messages":[]}',
      '{"model":"opus","max_tokens":5,"system":"Long.","temperature":1,"top_p":1,"messages":[]}',
    ]);
  });

  test("is told by the dry run, and one that is not there is refused when the rule is set and when it acts", async () => {
    const { chat, send, bodies } = await ready();
    expect(await (await send("POST", "/admin/route/explain", { model: "far" })).json()).toMatchObject({
      rule_id: 2,
      profile: "terse",
    });
    const rule = { model_pattern: "x", pattern_type: "exact", target: "local", profile: "gone" };
    const refused = await send("POST", "/api/settings/rules", rule);
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('no profile \\"gone\\"')]);
    expect((await send("DELETE", "/api/profiles/1")).status).toBe(200);
    const left = await chat({ model: "far", messages: [USER] });
    expect([left.status, await left.text()]).toEqual([503, expect.stringContaining('apply profile \\"terse\\"')]);
    expect(bodies).toEqual([]);
  });

  test("with what only this machine understands is refused at a provider, and a fallback here has it", async () => {
    const { chat, send, set, bodies, backend } = await ready();
    await set("profiles", { name: "narrow", model: "tiny", context_length: 40, template_options: { fun: true } });
    const rule = { model_pattern: "narrow-far", pattern_type: "exact", target: "cloud", profile: "narrow" };
    await set("rules", rule);
    const refused = await chat({ model: "narrow-far", messages: [USER] });
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("template_options")]);
    await send("PUT", "/api/settings/rules/4", { ...rule, fallbacks: ["local:tiny"] });
    expect((await chat({ model: "narrow-far", messages: [USER] })).status).toBe(200);
    expect(backend.requests).toMatchObject([{ context_tokens_max: 40, template_options: { fun: true } }]);
    expect(bodies).toEqual([]);
  });
});

test("a model that the owner labels is kept here: by its name, behind its provider's, under a rule and by a profile", async () => {
  const opened = house({ settings: { local_only_models: ["tiny", "secret-*"], default_provider: "cloud" } });
  const far = provider();
  await opened.set("providers", { name: "cloud", api_type: "openai", base_url: far.base_url });
  await opened.set("profiles", TERSE);
  const rule = { pattern_type: "exact", target: "cloud" };
  await opened.set("rules", { ...rule, model_pattern: "secret-two" });
  await opened.set("rules", { ...rule, model_pattern: "terse" });
  await opened.set("rules", { ...rule, model_pattern: "tiny", fallbacks: ["local:tiny"] });
  const asked = { messages: [USER] };
  for (const model of ["secret-one", "cloud:secret-one", "secret-two", "terse"]) {
    const kept = await opened.chat({ ...asked, model });
    expect([model, kept.status, await kept.text()]).toEqual([model, 403, expect.stringContaining("local_only_models")]);
  }
  expect((await opened.chat({ ...asked, model: "tiny" })).headers.get("x-bunsen-route")).toStartWith("local:tiny");
  expect(far.bodies).toEqual([]);
  expect((await opened.chat({ ...asked, model: "open" })).status).toBe(200);
  // As when the settings are read anew.
  Object.assign(opened.settings, { local_only_models: [] });
  expect((await opened.chat({ ...asked, model: "secret-one" })).status).toBe(200);
  expect(far.bodies).toHaveLength(2);
});
