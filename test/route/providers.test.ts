/** What arrives at a provider, and what comes back from it, in the same protocol and across two. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { type Call, newTrace } from "../../src/core/exchange.ts";
import { NO_DEFAULTS } from "../../src/core/routing.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { readEvents } from "../http/scripted-backend.ts";
import { closedAfterEach, type House, openHouse, until } from "./house.ts";
import * as anthropicDouble from "./strict-anthropic.ts";
import { HAS_SCHEMAS, STREAM, strictOpenai, WHOLE } from "./strict-openai.ts";

const FOLDER = scratchFolder();
const KEY = "sk-live-3f9a1c77e0d24b5f";
const open = closedAfterEach();

let houses = 0;

function house(wishes: Partial<Parameters<typeof openHouse>[0]> = {}): House & { folder: string } {
  const folder = `${FOLDER}/${houses++}`;
  const opened = openHouse({ folder, ...wishes });
  open.push(opened.close);
  return { ...opened, folder };
}

function double(key = KEY) {
  const server = strictOpenai(key);
  open.push(server.stop);
  return server;
}

/** Spaces, escapes, unknown order, a tool, an image, and a member named model that is not the model. */
const BODY = `{
  "tools": [{"type":"function","function":{"name":"weather","strict":true,
    "parameters":{"type":"object","properties":{"model":{"type":"string"},"city":{"type":"string"}}}}}],
  "mod\\u0065l" : "far" ,"messages":[ {"role":"user","content":[{"type":"text","text":"\\"model\\": \\u00f6 wörld"},
    {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}}]} ],
  "reasoning_effort":"low", "parallel_tool_calls":false, "seed": 12.0, "metadata":{"a":"b"}STREAM}`;
const ASKED = BODY.replace("STREAM", "");
const ASKED_STREAM = BODY.replace("STREAM", ',"stream":true,"stream_options":{"include_usage":true}');

describe.skipIf(!HAS_SCHEMAS)("a provider of the caller's protocol", () => {
  async function ready() {
    const server = double();
    const opened = house();
    await opened.set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: KEY });
    await opened.set("rules", {
      model_pattern: "far",
      pattern_type: "exact",
      target: "cloud",
      target_model: "gpt-far",
    });
    return { server, ...opened };
  }

  for (const [form, asked, answer] of [
    ["whole", ASKED, WHOLE],
    ["as a stream", ASKED_STREAM, STREAM],
  ] as const) {
    test(`answers ${form}: every byte goes there and back but the model and the key`, async () => {
      const { server, chat, rows } = await ready();
      const response = await chat(asked, {
        headers: { authorization: "Bearer caller", cookie: "a=b", "x-api-key": "c" },
      });
      expect(await response.text()).toBe(answer);
      expect(response.headers.get("x-bunsen-route")).toBe("cloud:gpt-far (rule 1)");
      const [arrived] = server.arrived;
      expect(arrived?.body).toBe(asked.replace('"far"', '"gpt-far"'));
      expect(arrived?.authorization).toBe(`Bearer ${KEY}`);
      expect(JSON.stringify(arrived?.headers)).not.toMatch(/caller|a=b|x-api-key/);
      await until(() => rows().length === 1);
      expect(rows()).toMatchObject([
        { status: "success", prompt_tokens: 81, completion_tokens: 17, cached_tokens: 64, left_machine: true },
      ]);
    });
  }

  test("is changed by a rule, a key or a provider for the very next request", async () => {
    const { server, chat, send, set } = await ready();
    expect((await chat(ASKED)).status).toBe(200);
    await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: "sk-wrong" });
    expect((await chat(ASKED)).status).toBe(502);
    await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: KEY });
    expect((await chat(ASKED)).status).toBe(200);
    const other = double("sk-other");
    await set("providers", { name: "cloud", api_type: "openai", base_url: other.base_url, api_key: "sk-other" });
    expect((await chat(ASKED)).status).toBe(200);
    expect(other.arrived).toHaveLength(1);
    await send("PUT", "/api/settings/rules/1", { model_pattern: "near", pattern_type: "exact", target: "cloud" });
    expect((await chat(ASKED)).status).toBe(404);
    await send("DELETE", "/api/settings/providers/cloud");
    expect((await chat(ASKED.replace('"far"', '"near"'))).status).toBe(404);
  });

  test("never shows its key: not in answers, errors, the audit or the database", async () => {
    const { chat, send, set, server, folder, bugs, store } = await ready();
    const texts: string[] = [];
    const hear = async (response: Response) => texts.push(await response.text(), JSON.stringify([...response.headers]));
    await hear(await chat(ASKED));
    await hear(await chat(ASKED.replace('"low"', '"absurd"')));
    const listed = "/api/settings/providers";
    for (const path of [listed, `${listed}/defaults`, "/api/providers/models", "/api/providers/health"]) {
      await hear(await send("GET", path));
    }
    await hear(await send("POST", `${listed}/cloud/test`));
    await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: "sk-wrong-9912" });
    await hear(await chat(ASKED));
    await hear(await send("GET", "/admin/audit-logs"));
    await hear(await send("GET", "/admin/audit-logs/export?format=csv"));
    expect(texts.join("\n")).toContain('"stored"');
    expect(texts.join("\n")).not.toMatch(/sk-live|sk-wrong/);
    expect(Bun.inspect(bugs)).toBe("[]");
    store.tables.run("PRAGMA wal_checkpoint(FULL)");
    const files = readdirSync(folder).map((name) => join(folder, name));
    const bytes = files.map((file) => readFileSync(file, "latin1")).join("");
    expect(bytes).toContain("cloud");
    expect(bytes).not.toMatch(/sk-live|sk-wrong/);
    expect(statSync(join(folder, "secret")).mode & 0o777).toBe(0o600);
  });

  test("whose secret was lost asks for its key again, and has it back when it is entered", async () => {
    const { folder, server, ...first } = await ready();
    await open.pop()?.();
    rmSync(join(folder, "secret"));
    const again = openHouse({ folder });
    open.push(again.close);
    const refused = await again.chat(ASKED);
    expect([refused.status, await refused.text()]).toEqual([503, expect.stringContaining("enter the key again")]);
    expect(await (await again.send("GET", "/api/settings/providers")).json()).toMatchObject({
      data: [{ key: "lost" }],
    });
    await again.set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: KEY });
    expect((await again.chat(ASKED)).status).toBe(200);
    expect(first.bugs).toEqual([]);
  });

  test("keeps working when its key is sealed with a new secret", async () => {
    const { folder, chat, rotate } = await ready();
    const before = readFileSync(join(folder, "secret"), "utf8");
    expect(await rotate()).toEqual({ sealed: 1, lost: [] });
    expect(readFileSync(join(folder, "secret"), "utf8")).not.toContain(before.trim());
    expect((await chat(ASKED)).status).toBe(200);
  });

  test("is told apart when it is tried: well, unauthorised, refused, another protocol", async () => {
    const { send, set, server } = await ready();
    const tried = async () => (await (await send("POST", "/api/settings/providers/cloud/test")).json()) as object;
    expect(await tried()).toMatchObject({ outcome: "ok", models: ["gpt-far"] });
    await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: "sk-no" });
    expect(await tried()).toMatchObject({ outcome: "unauthorised" });
    await set("providers", {
      name: "cloud",
      api_type: "openai",
      base_url: server.base_url.replace("/v1", "/v9"),
      api_key: KEY,
    });
    expect(await tried()).toMatchObject({ outcome: "wrong_protocol" });
    await server.stop();
    expect(await tried()).toMatchObject({ outcome: "refused" });
  });
});

test("a second Bunsen is a provider like OpenAI", async () => {
  const second = house();
  const first = house();
  await first.set("providers", { name: "second", api_type: "openai", base_url: `${second.url}/v1` });
  await first.set("rules", { model_pattern: "far*", pattern_type: "glob", target: "second", target_model: "tiny" });
  const hi = { model: "far-away", messages: [{ role: "user", content: "hi" }] };
  const whole = (await (await first.chat(hi)).json()) as { choices: { message: { content: string } }[] };
  expect(whole.choices[0]?.message.content).toBe("Hello, wörld");
  const stream = await readEvents(await first.chat({ ...hi, stream: true, stream_options: { include_usage: true } }));
  expect(stream.at(-1)).toBe("[DONE]");
  await until(() => first.rows().length === 2 && second.rows().length === 2);
  for (const rows of [first.rows(), second.rows()]) {
    const counted = { status: "success", prompt_tokens: 5, completion_tokens: 2, model_served: "tiny" };
    expect(rows).toMatchObject([counted, counted]);
  }
});

const ANTHROPIC_STREAM = [
  '{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}}}',
  '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
  '{"type":"ping"}',
  '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Good "}}',
  '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"day"}}',
  '{"type":"content_block_stop","index":0}',
  '{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":6}}',
  '{"type":"message_stop"}',
]
  .map((data) => `event: ${JSON.parse(data).type}\ndata: ${data}\n\n`)
  .join("");

test("a chat of OpenAI's protocol is answered by a provider of Anthropic's, and what it cannot say is refused", async () => {
  const bodies: unknown[] = [];
  const keys: (string | null)[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      keys.push(request.headers.get("x-api-key"), request.headers.get("anthropic-version"));
      bodies.push([new URL(request.url).pathname, await request.json()]);
      return new Response(ANTHROPIC_STREAM, { headers: { "content-type": "text/event-stream" } });
    },
  });
  open.push(async () => await server.stop(true));
  const { set, chat, rows } = house();
  const base_url = `http://127.0.0.1:${server.port}/v1`;
  await set("providers", { name: "claude", api_type: "anthropic", base_url, api_key: KEY, backend_type: "cloud" });
  const messages = [
    { role: "system", content: "Be kind." },
    { role: "user", content: "hi" },
  ];
  const asked = { model: "claude:opus", messages, max_tokens: 6, stop: ["X"], temperature: 0.5 };
  expect(await (await chat(asked)).json()).toMatchObject({
    choices: [{ message: { content: "Good day" }, finish_reason: "length" }],
    usage: { prompt_tokens: 13, completion_tokens: 6 },
  });
  expect(keys).toEqual([KEY, "2023-06-01"]);
  expect(bodies).toEqual([
    [
      "/v1/messages",
      {
        model: "opus",
        stream: true,
        max_tokens: 6,
        system: "Be kind.",
        messages: [{ role: "user", content: "hi" }],
        temperature: 0.5,
        stop_sequences: ["X"],
      },
    ],
  ]);
  const refused = await chat({ ...asked, seed: 3 });
  expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("seed")]);
  expect(bodies).toHaveLength(1);
  expect(rows()).toMatchObject([{ status: "success", prompt_tokens: 13, completion_tokens: 6 }, { status: "error" }]);
});

test("a caller of Anthropic's protocol is passed through to a provider of it, with its headers and its counts", async () => {
  const arrived: { readonly body: string; readonly headers: readonly (string | null)[] }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const names = ["x-api-key", "anthropic-version", "anthropic-beta"];
      arrived.push({ body: await request.text(), headers: names.map((name) => request.headers.get(name)) });
      return new Response(ANTHROPIC_STREAM, { headers: { "content-type": "text/event-stream" } });
    },
  });
  open.push(async () => await server.stop(true));
  const { set, router } = house();
  const base_url = `http://127.0.0.1:${server.port}/v1`;
  await set("providers", { name: "claude", api_type: "anthropic", base_url, api_key: KEY, backend_type: "cloud" });
  const body =
    '{ "thinking":{"type":"enabled","budget_tokens":1024}, "model": "claude:opus","messages":[],"stream":true }';
  const trace = newTrace();
  const call: Call = {
    request_id: "req_1",
    protocol: "anthropic",
    endpoint: "messages",
    model: "claude:opus",
    body,
    is_whole: true,
    stream: true,
    headers: { "anthropic-version": "2024-01-01", "anthropic-beta": "more" },
    local_only: null,
    neutral: () => {
      throw new Error("what passes through is not understood");
    },
  };
  const reply = await router.open(call, trace, new AbortController().signal);
  if (reply.kind !== "stream") throw new Error(`Not a stream but ${reply.kind}`);
  let text = "";
  for (let next = await reply.pieces.next(); next.done !== true; next = await reply.pieces.next()) {
    text += Buffer.from(next.value).toString();
  }
  expect(text).toBe(ANTHROPIC_STREAM);
  expect(trace.usage).toEqual({ prompt_tokens: 13, completion_tokens: 6, cached_tokens: 4, reasoning_tokens: null });
  const headers = [KEY, "2024-01-01", "more"];
  expect(arrived).toEqual([{ body: body.replace("claude:opus", "opus"), headers }]);
});

/** Spaces, escapes, an image, a result with one, a cached tool, and a member named model that is not the model. */
const MESSAGE = `{ "max_tokens":50, "system":[{"type":"text","text":"Be \\u006bind","cache_control":{"type":"ephemeral"}}],
  "tools":[{"name":"weather","input_schema":{"type":"object","properties":{"model":{"type":"string"}}},"strict":true}],
  "tool_choice":{"type":"auto","disable_parallel_tool_use":true}, "mod\\u0065l":"far" ,"metadata":{"user_id":"u"},
  "messages":[{"role":"user","content":[{"type":"text","text":"\\"model\\": wörld"},
    {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]},
   {"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"weather","input":{"model": 1.0}}]},
   {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"see"},
    {"type":"image","source":{"type":"base64","media_type":"image/gif","data":"R0lGODdh"}}]}]}]STREAM}`;

for (const [form, stream, answer, completion_tokens] of [
  ["whole", "", anthropicDouble.WHOLE, 6],
  ["as a stream", ',"stream": true', anthropicDouble.ANSWERS, 6],
] as const) {
  test(`a provider of Anthropic's protocol answers its caller ${form}: every byte goes there and back but model and key`, async () => {
    const server = anthropicDouble.strictAnthropic(KEY);
    open.push(server.stop);
    const { set, send, rows } = house();
    const claude = { name: "claude", api_type: "anthropic", backend_type: "cloud", base_url: server.base_url };
    await set("providers", { ...claude, api_key: KEY });
    const rule = { model_pattern: "far", pattern_type: "exact", target: "claude", target_model: "claude-far" };
    await set("rules", rule);
    const asked = MESSAGE.replace("STREAM", stream);
    const headers = { "x-api-key": "callers", authorization: "Bearer callers", "anthropic-version": "2023-06-01" };
    const response = await send("POST", "/v1/messages", asked, { headers });
    expect(await response.text()).toBe(answer);
    expect(server.arrived[0]?.body).toBe(asked.replace('"far"', '"claude-far"'));
    expect(server.arrived[0]?.headers["x-api-key"]).toBe(KEY);
    expect(JSON.stringify(server.arrived)).not.toContain("callers");
    await until(() => rows().length === 1);
    const prompt_tokens = stream === "" ? 9 + 3 + 4 : 9 + 4;
    expect(rows()).toMatchObject([{ status: "success", prompt_tokens, completion_tokens, cached_tokens: 4 }]);
    const refused = await send("POST", "/v1/messages", asked.replace('"max_tokens":50', '"max_tokens":0'), { headers });
    expect([refused.status, await refused.json()]).toEqual([400, expect.objectContaining({ request_id: "req_far" })]);
  });
}

test.skipIf(!HAS_SCHEMAS)("texts to complete and to embed go to a provider as chats do, byte for byte", async () => {
  const server = double();
  const { set, send, rows } = house({ settings: { default_provider: "cloud" } });
  await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: KEY });
  const rule = { model_pattern: "far", pattern_type: "exact", target: "cloud", target_model: "gpt-far" };
  await set("rules", rule);
  for (const [path, body, answer] of [
    ["/v1/completions", '{ "prompt":["a","\\u0062"],"model" : "far","best_of":2, "n": 2 }', WHOLE],
    ["/v1/completions", '{ "prompt":"a","model" : "far","stream":true }', STREAM],
    ["/v1/embeddings", '{ "input":["a","\\u0062"],"model" : "far", "dimensions": 8 }', WHOLE],
  ] as const) {
    const response = await send("POST", path, body);
    expect([response.status, await response.text()]).toEqual([200, answer]);
    expect(server.arrived.at(-1)).toMatchObject({
      path,
      body: body.replace("far", "gpt-far"),
      authorization: `Bearer ${KEY}`,
    });
    const kept = await send("POST", path, body, { headers: { "x-bunsen-privacy": "local-only" } });
    expect(kept.status).toBe(403);
  }
  await until(() => rows().length === 6);
  expect(rows().filter(({ status }) => status === "success")).toHaveLength(3);
  const fallback = { ...rule, model_pattern: "near", fallbacks: ["local:tiny"], target_model: "absurd" };
  await set("rules", fallback);
  await server.stop();
  const embedded = await send("POST", "/v1/embeddings", { model: "near", input: "a" });
  expect(embedded.headers.get("x-bunsen-route")).toBe("local:tiny (rule 2, fallback 1)");
  const completed = await send("POST", "/v1/completions", { model: "near", prompt: "a" });
  expect(completed.headers.get("x-bunsen-route")).toBe("local:tiny (rule 2, fallback 1)");
});

test("an error tells by whom and why, where somebody was asked, and nobody where none was", async () => {
  const { chat, set } = house();
  await set("providers", { name: "cloud", api_type: "openai", base_url: "http://127.0.0.1:9" });
  const hi = { messages: [{ role: "user", content: "hi" }] };
  const failed = await chat({ ...hi, model: "cloud:gpt" });
  expect([failed.status, failed.headers.get("x-bunsen-route")]).toEqual([
    502,
    "cloud:gpt (provider named by the model)",
  ]);
  const unknown = await chat({ ...hi, model: "nowhere" });
  expect([unknown.status, unknown.headers.get("x-bunsen-route")]).toEqual([404, null]);
});

test("a key that no header can carry is refused when it is entered, and not shown", async () => {
  const { send } = house();
  for (const api_key of [`${KEY}\r\nx-evil: 1`, `\u201c${KEY}\u201d`, `${KEY}\n`]) {
    const provider = { name: "cloud", api_type: "openai", base_url: "http://127.0.0.1:9", api_key };
    const refused = await send("POST", "/api/settings/providers", provider);
    const text = await refused.text();
    expect([refused.status, text]).toEqual([400, expect.stringContaining('Cannot use \\"api_key\\"')]);
    expect(text).not.toContain(KEY);
  }
});

test("a rule's priority beyond what is kept exactly is refused, alone and among others", async () => {
  const { send, set } = house();
  const rule = { model_pattern: "a", pattern_type: "exact", target: "local" };
  const { id } = await set("rules", rule);
  expect((await send("POST", "/api/settings/rules", { ...rule, priority: 1e300 })).status).toBe(400);
  expect((await send("PUT", "/api/settings/rules/priorities", [{ id, priority: 1e300 }])).status).toBe(400);
});

test("a disk that is full is told to whom it concerns, as no error of the server's", async () => {
  const { send, store, bugs } = house();
  store.tables.run(sql`PRAGMA max_page_count = 1`);
  const rule = { model_pattern: "a".repeat(256), pattern_type: "exact", target: "local" };
  const answers = [];
  // Until the pages that there are have no more room.
  for (let asked = 0; asked < 40; asked++) answers.push(await send("POST", "/api/settings/rules", rule));
  const last = answers.at(-1);
  expect([last?.status, await last?.text()]).toEqual([
    503,
    expect.stringContaining("Cannot write to the database: database or disk is full"),
  ]);
  expect(bugs.filter((bug) => !String(bug).includes("full"))).toEqual([]);
});

describe("privacy", () => {
  test("a request, a rule or the switch keep all on this machine, in fallback too, with 403 and the reason", async () => {
    const server = double();
    const { chat, set, send, settings, rows } = house();
    await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: KEY });
    await set("rules", { model_pattern: "far", pattern_type: "exact", target: "cloud" });
    await set("rules", {
      model_pattern: "own",
      pattern_type: "exact",
      target: "local",
      privacy: "local-only",
      fallbacks: ["cloud:gpt"],
    });
    const hi = { messages: [{ role: "user", content: "hi" }] };
    const kept = await chat({ ...hi, model: "far" }, { headers: { "x-bunsen-privacy": "local-only" } });
    expect([kept.status, await kept.text()]).toEqual([403, expect.stringContaining("the header x-bunsen-privacy")]);
    expect((await chat({ ...hi, model: "far" }, { headers: { "x-bunsen-privacy": "maybe" } })).status).toBe(400);
    expect((await chat({ ...hi, model: "own" })).status).toBe(404);
    Object.assign(settings, { enable_cloud_routing: "off" });
    const off = await chat({ ...hi, model: "far" });
    expect([off.status, await off.text()]).toEqual([403, expect.stringContaining("cloud routing is off")]);
    expect((await chat({ ...hi, model: "cloud:gpt" })).status).toBe(403);
    expect((await send("POST", "/admin/route/explain", { model: "far" })).status).toBe(403);
    const tried = await send("POST", "/api/settings/providers/cloud/test");
    expect(await tried.json()).toMatchObject({ outcome: "unreachable", detail: expect.stringContaining("is off") });
    for (const shown of ["models", "loaded", "health"]) {
      expect((await send("GET", `/api/providers/${shown}`)).status).toBe(200);
    }
    expect(server.arrived).toEqual([]);
    expect(rows().map((row) => row.left_machine)).toEqual(rows().map(() => false));
  });

  test("a provider of the cloud in a private network is refused unless its host is listed", async () => {
    const server = double();
    const { chat, set, settings, send } = house();
    await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: KEY });
    Object.assign(settings, { private_hosts: [] });
    const tried = await send("POST", "/api/settings/providers/cloud/test");
    expect(await tried.json()).toMatchObject({
      outcome: "unreachable",
      detail: expect.stringContaining("private_hosts"),
    });
    const refused = await chat({ model: "cloud:gpt", messages: [{ role: "user", content: "hi" }] });
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining("private network")]);
    expect(server.arrived).toEqual([]);
  });
});

test("a dry run tells where a request would go and why, and asks nobody", async () => {
  const server = double();
  const { set, send, backend } = house();
  await set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url });
  await set("rules", {
    model_pattern: "^t.n",
    pattern_type: "regex",
    target: "local",
    target_model: "tiny",
    fallbacks: ["cloud:gpt"],
  });
  const response = await send("POST", "/admin/route/explain", { model: "tin" });
  expect(await response.json()).toEqual({
    model: "tin",
    rule_id: 1,
    profile: null,
    local_only: null,
    stops: [
      { backend: "local", model: "tiny", reason: "rule 1", leaves_machine: false },
      { backend: "cloud", model: "gpt", reason: "rule 1, fallback 1", leaves_machine: true },
    ],
    would_load: "tiny",
    would_evict: ["idle"],
    queue_length: 2,
    context_length: 64,
    ttft_ms_predicted: null,
  });
  expect([server.arrived, backend.requests]).toEqual([[], []]);
});

test("what the environment wants of a provider is asked where a request does not say", async () => {
  const bodies: Record<string, unknown>[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      bodies.push((await request.json()) as Record<string, unknown>);
      if (bodies.length > 2) await Bun.sleep(3000);
      return Response.json({ choices: [] });
    },
  });
  open.push(async () => await server.stop(true));
  const base_url = `http://127.0.0.1:${server.port}/v1`;
  const provider = { name: "mlxlm", api_type: "openai", backend_type: "mlxlm", base_url } as const;
  const defaults = { model: "theirs", max_tokens: 64, temperature: 0, timeout_s: 0.3 };
  const { chat } = house({ providers: [{ provider, key: null, defaults }], settings: { default_provider: "mlxlm" } });
  const messages = [{ role: "user", content: "hi" }];
  expect((await chat({ model: "any", messages })).status).toBe(200);
  expect((await chat({ model: "mlxlm:other", messages, max_completion_tokens: 5, temperature: 1 })).status).toBe(200);
  expect(bodies).toEqual([
    { max_tokens: 64, temperature: 0, model: "theirs", messages },
    { model: "other", messages, max_completion_tokens: 5, temperature: 1 },
  ]);
  expect((await chat({ model: "any", messages })).status).toBe(504);
});

test("auto takes the first server that is what it should be, and says why not another", async () => {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) =>
      url.endsWith("/v1/models")
        ? Response.json({ data: [{ id: "m" }] }, { headers: { server: "llama.cpp" } })
        : url.endsWith("/completions")
          ? Response.json({ choices: [] })
          : new Response(null, { status: 404 }),
  });
  open.push(async () => await server.stop(true));
  const given = (name: "lmstudio" | "ollama" | "llamacpp", port: number | undefined) => {
    const provider = { name, api_type: "openai", backend_type: name, base_url: `http://127.0.0.1:${port}/v1` } as const;
    return { provider, key: null, defaults: NO_DEFAULTS };
  };
  const wishes = [given("lmstudio", 9), given("ollama", server.port), given("llamacpp", server.port)];
  const { chat, findDefault } = house({ providers: wishes, settings: { default_provider: "auto" } });
  const asked = { model: "any", messages: [{ role: "user", content: "hi" }] };
  expect((await chat(asked)).status).toBe(404);
  expect(await findDefault(AbortSignal.timeout(9000))).toMatchObject({
    provider: { name: "llamacpp" },
    tried: [
      "openai: no key is stored",
      "lmstudio at 127.0.0.1:9: no server",
      `ollama at 127.0.0.1:${server.port}: llamacpp`,
      `llamacpp at 127.0.0.1:${server.port}: llamacpp`,
    ],
  });
  const response = await chat(asked);
  expect([response.status, response.headers.get("x-bunsen-route")]).toEqual([200, "llamacpp:any (default provider)"]);
});
