/** What a hostile caller or provider cannot do: break the audit, learn a key, or have what ended count twice. */

import { expect, test } from "bun:test";
import { plan } from "../../src/route/policy.ts";
import { verifyAudit } from "../../src/store/audit.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { type Behaviour, event, faultyServer, LAST_PIECE, piece, STREAM_HEAD, whole } from "./faulty-server.ts";
import { closedAfterEach, openHouse } from "./house.ts";

const FOLDER = scratchFolder();
const KEY = "sk-live-3f9a1c77e0d24b5f";
const HI = { model: "far", messages: [{ role: "user", content: "hi" }] };
const GOOD = JSON.stringify({ id: "x", choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } });
const open = closedAfterEach();

let houses = 0;

async function houseBefore(behave: Behaviour, more: Partial<Parameters<typeof openHouse>[0]> = {}) {
  const server = await faultyServer(behave);
  const house = openHouse({ folder: `${FOLDER}/${houses++}`, settings: { default_provider: "cloud" }, ...more });
  open.push(() => server.stop(), house.close);
  await house.set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: KEY });
  return { house, server };
}

const answers =
  (body: string): Behaviour =>
  (socket) =>
    void socket.write(whole(200, "application/json", body));

for (const [what, model] of [
  ["half a character", "\ud800x"],
  ["a control character", "a\u0000b"],
  ["a book", "x".repeat(100_000)],
] as const) {
  test(`a model's name with ${what} is refused by its parameter, and the audit stays whole`, async () => {
    const { house, server } = await houseBefore(answers(GOOD));
    const response = await house.chat({ ...HI, model });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param: "model" } });
    expect(server.requests()).toEqual([]);
    expect(house.rows()).toMatchObject([{ status: "error", error_type: "invalid_request", model_asked: null }]);
    expect(verifyAudit(house.store)).toMatchObject({ fault: null });
    expect(house.bugs).toEqual([]);
  });
}

test("counts that no provider can mean do not stop the audit", async () => {
  const { house } = await houseBefore(answers('{"choices":[],"usage":{"prompt_tokens":1e300,"completion_tokens":2}}'));
  expect((await house.chat(HI)).status).toBe(200);
  expect(house.rows()).toMatchObject([{ status: "success", prompt_tokens: null }]);
  expect(house.bugs).toEqual([]);
});

for (const status of [400, 404, 429, 500]) {
  test(`a provider that repeats its key beside status ${status} is not passed on`, async () => {
    const { house } = await houseBefore((socket) => {
      socket.write(whole(status, "application/json", JSON.stringify({ error: { message: `API key ${KEY} is bad` } })));
    });
    const response = await house.chat(HI);
    expect(await response.text()).not.toContain(KEY);
    expect(JSON.stringify([...response.headers])).not.toContain(KEY);
    expect(house.rows()).toMatchObject([{ status: "error" }]);
  });
}

test("an error in a whole answer of status 200 is passed on and counts as one", async () => {
  const { house } = await houseBefore(answers('{"error":{"code":502,"message":"no provider"}}'));
  expect(await (await house.chat(HI)).json()).toMatchObject({ error: { code: 502 } });
  expect(house.rows()).toMatchObject([{ status: "error", error_type: "upstream" }]);
});

test("a stream that began with an error is forgotten when a retry answers", async () => {
  const { house } = await houseBefore(
    (socket, index) => {
      const bad = 'data: {"error":{"message":"busy"},"usage":{"prompt_tokens":99,"completion_tokens":9}}\n\n';
      const good = event("Hello", "stop");
      socket.write(STREAM_HEAD + piece(index === 0 ? bad : `${good}data: [DONE]\n\n`) + LAST_PIECE);
    },
    { tuning: { retries_max: 1 } },
  );
  expect(await (await house.chat({ ...HI, stream: true })).text()).toContain("Hello");
  expect(house.rows()).toMatchObject([{ status: "success", error_type: null, prompt_tokens: null }]);
});

test("a provider whose address was mended is asked at once, though its breaker was open", async () => {
  const { house, server } = await houseBefore((socket) => void socket.resetAndDestroy(), {
    tuning: { failures_to_open: 2 },
  });
  for (let index = 0; index < 3; index++) expect((await house.chat(HI)).status).toBe(502);
  expect(server.requests()).toHaveLength(2);
  const mended = await faultyServer(answers(GOOD));
  open.push(() => mended.stop());
  await house.set("providers", { name: "cloud", api_type: "openai", base_url: mended.base_url });
  expect((await house.chat(HI)).status).toBe(200);
});

test("two keys entered at once on a new machine can both be opened", async () => {
  const { house } = await houseBefore(answers(GOOD));
  const fresh = openHouse({ folder: `${FOLDER}/${houses++}` });
  open.push(fresh.close);
  const save = async (name: string) =>
    await fresh.providers.save(
      { name, api_type: "openai", backend_type: "cloud", base_url: "http://127.0.0.1:9" },
      name,
    );
  await Promise.all(["a", "b", "c"].map(save));
  expect(await Promise.all(["a", "b", "c"].map((name) => fresh.providers.key(name)))).toEqual(["a", "b", "c"]);
  expect(house.bugs).toEqual([]);
});

test("a model that Ollama runs in its cloud leaves the machine", () => {
  const ollama = {
    name: "ollama",
    api_type: "openai",
    backend_type: "ollama",
    base_url: "http://127.0.0.1:1/v1",
  } as const;
  const world = {
    rules: [],
    providers: new Map([["ollama", ollama]]),
    settings: { enable_cloud_routing: true, default_provider: "ollama", default_model: null },
    hasModel: () => false,
    isLocalOnly: () => false,
    local: () => null,
  };
  const ask = (model: string, local_only: string | null) => plan({ model, prompt_tokens_about: 1, local_only }, world);
  expect(ask("gpt-oss:20b", "the header").stops[0].leaves_machine).toBe(false);
  for (const model of ["gpt-oss:120b-cloud", "kimi-k2:cloud"]) {
    expect(ask(model, null).stops[0].leaves_machine).toBe(true);
    expect(() => ask(model, "the header")).toThrow("keeps it on this machine");
  }
});

test("requests that reach no dialect are in the audit too, those that only look and may are not", async () => {
  const { house } = await houseBefore(answers(GOOD));
  await house.send("GET", "/admin/audit-logs");
  await house.send("GET", "/nowhere/secret-words");
  await house.send("GET", "/v1/chat/completions");
  await house.send("POST", "/v1/chat/completions", HI, { headers: { host: "evil.example" } });
  await house.send("POST", "/v1/chat/completions", "{");
  const rows = house.allRows().map(({ endpoint, status, error_type }) => [endpoint, status, error_type]);
  expect(rows).toEqual([
    ["POST /api/settings/providers", "success", null],
    ["GET", "error", "http_404"],
    ["GET /v1/chat/completions", "error", "http_405"],
    ["POST /v1/chat/completions", "error", "http_403"],
    ["chat", "error", "invalid_request"],
  ]);
  expect(new Set(house.allRows().map(({ request_id }) => request_id)).size).toBe(5);
});
