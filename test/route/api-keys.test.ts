/** Keys of callers: what each opens, what its label keeps here, and what the audit tells of it. */

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { scratchFolder } from "../formats/scratch.ts";
import { closedAfterEach, type House, openHouse } from "./house.ts";
import { strictOpenai } from "./strict-openai.ts";

const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
interface Told {
  readonly error: { readonly type: string; readonly code: string };
}

const open = closedAfterEach();
let count = 0;

function house(require_api_key: "on" | "off" = "off"): House {
  const opened = openHouse({ folder: `${scratchFolder()}/keys-${count++}`, settings: { require_api_key } });
  open.push(() => opened.close());
  return opened;
}

async function made(of: House, words: object): Promise<string> {
  const { api_key } = await of.set("keys", words);
  return String(api_key);
}

const as = (secret: string) => ({ headers: { authorization: `Bearer ${secret}` } });

test("a key is told once, and its bytes are in no file", async () => {
  const of = house();
  const { send, database } = of;
  const secret = await made(of, { name: "laptop" });
  expect(secret).toMatch(/^bsk_[\w-]{43}$/);
  const listed = await send("GET", "/api/settings/keys");
  const text = await listed.text();
  expect(JSON.parse(text).data).toEqual([
    { id: 1, name: "laptop", admin: false, privacy: null, created_at: expect.stringMatching(/^\d{4}-.*Z$/) },
  ]);
  expect(text).not.toContain(secret.slice(4));
  using file = new Database(database);
  file.run("PRAGMA wal_checkpoint(TRUNCATE)");
  expect(Buffer.from(await Bun.file(database).arrayBuffer()).includes(secret.slice(4))).toBeFalse();
});

describe("where keys are needed", () => {
  test.each([
    ["GET", "/v1/models", undefined, "invalid_api_key"],
    ["POST", "/v1/chat/completions", HI, "invalid_api_key"],
    ["GET", "/api/settings/keys", undefined, "invalid_api_key"],
    ["GET", "/none", undefined, "invalid_api_key"],
  ])("%s %s without one is 401", async (method, path, body, code) => {
    const response = await house("on").send(method, path, body);
    expect([response.status, response.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
    expect(((await response.json()) as Told).error.code).toBe(code);
  });

  test("each dialect says so in its own form", async () => {
    const { send } = house("on");
    const anthropic = await send("POST", "/v1/messages", { ...HI, max_tokens: 4 }, as("sk-ant-none"));
    expect([anthropic.status, ((await anthropic.json()) as Told).error.type]).toEqual([401, "authentication_error"]);
    const ollama = await send("POST", "/api/chat", HI);
    expect([ollama.status, Object.keys((await ollama.json()) as object)]).toEqual([401, ["error"]]);
  });

  test.each(["/health", "/docs", "/openapi.json", "/"])("%s is open", async (path) => {
    expect((await house("on").send("GET", path)).status).toBe(200);
  });

  test("either header brings one, and names of this machine are no matter then", async () => {
    const of = house();
    const secret = await made(of, { name: "phone" });
    Object.assign(of.settings, { require_api_key: "on" });
    const elsewhere = { host: "bunsen.example:10240", origin: "https://app.example" };
    for (const header of [{ "x-api-key": secret }, { authorization: `bearer ${secret}` }]) {
      const response = await of.chat(HI, { headers: { ...header, ...elsewhere } });
      expect(response.status).toBe(200);
    }
  });
});

test("one that is not known is refused also where none is needed; another server's word is not looked at", async () => {
  const of = house();
  const secret = await made(of, { name: "gone" });
  expect((await of.chat(HI, as(secret))).status).toBe(200);
  await of.send("DELETE", "/api/settings/keys/1");
  expect((await of.chat(HI, as(secret))).status).toBe(401);
  expect((await of.chat(HI, as("sk-proj-anything"))).status).toBe(200);
});

test("one that is no administrator's opens what asks models, by whatever spelling nothing else", async () => {
  const of = house();
  const caller = await made(of, { name: "caller" });
  const admin = await made(of, { name: "admin", admin: true });
  const asks = [
    ["POST", "/v1/chat/completions", HI],
    ["GET", "/v1/models", undefined],
    ["GET", "/api/tags", undefined],
    ["POST", "/api/show", { model: "none" }],
  ] as const;
  for (const [method, path, body] of asks) {
    expect([path, (await of.send(method, path, body, as(caller))).status]).not.toEqual([path, 403]);
  }
  const sets = ["/admin/queue", "/v1/admin/queue", "/api/settings/keys", "/api/profiles", "/admin/audit-logs"];
  for (const path of sets) {
    expect([path, (await of.send("GET", path, undefined, as(caller))).status]).toEqual([path, 403]);
    expect([path, (await of.send("GET", path, undefined, as(admin))).status]).toEqual([path, 200]);
  }
  expect((await of.send("POST", "/v1/debug/prefix", HI, as(caller))).status).toBe(403);
  for (const path of [
    "//admin/queue",
    "/%61dmin/queue",
    "/v1/models/../admin/queue",
    "/v1/%61dmin/queue",
    "/admin/queue/",
  ]) {
    expect([path, (await of.send("GET", path, undefined, as(caller))).status]).not.toEqual([path, 200]);
  }
});

test.each(["a", "ab", "abc", "a:1", "long.example"])(
  "behind what is open lies nothing else, also at %s",
  async (host) => {
    const { send } = house("on");
    for (const path of ["/docs/admin/queue", "/docs/api/settings/keys", "/docs/docs/v1/models"]) {
      const response = await send("GET", path, undefined, { headers: { host } });
      expect([path, response.status]).toEqual([path, 404]);
    }
  },
);

test("what is asked with one that is local-only never leaves, and the audit tells whose it was", async () => {
  const provider = strictOpenai("sk-far");
  open.push(() => provider.stop());
  const of = house();
  await of.set("providers", { name: "cloud", api_type: "openai", base_url: provider.base_url, api_key: "sk-far" });
  await of.set("rules", { model_pattern: "far", pattern_type: "exact", target: "cloud" });
  const kept = await made(of, { name: "kept", privacy: "local-only" });
  const free = await made(of, { name: "free" });
  const refused = await of.chat({ ...HI, model: "far" }, as(kept));
  expect([refused.status, await refused.text()]).toEqual([
    403,
    expect.stringContaining('the API key \\"kept\\" keeps it'),
  ]);
  expect(provider.arrived).toEqual([]);
  expect((await of.chat({ ...HI, model: "far" }, as(free))).status).toBe(200);
  expect(provider.arrived.length).toBe(1);
  expect(JSON.stringify(provider.arrived)).not.toContain(free);
  const label = { name: "free", privacy: "local-only" };
  expect((await of.send("PUT", "/api/settings/keys/2", label)).status).toBe(200);
  expect((await of.chat({ ...HI, model: "far" }, as(free))).status).toBe(403);
  await of.send("GET", "/admin/queue", undefined, as(free));
  expect(of.allRows().map(({ key, status }) => [key, status])).toEqual(
    expect.arrayContaining([
      ["kept", "error"],
      ["free", "success"],
    ]),
  );
  const logs = await of.send("GET", "/admin/audit-logs?key=free");
  const { data } = (await logs.json()) as { data: { endpoint: string }[] };
  expect(data.map(({ endpoint }) => endpoint)).toEqual(["GET /admin/queue", "chat", "chat"]);
});

test("beside another server's word it counts in either header", async () => {
  const of = house();
  const secret = await made(of, { name: "laptop" });
  Object.assign(of.settings, { require_api_key: "on" });
  const both = [
    { "x-api-key": "sk-ant-other", authorization: `Bearer ${secret}` },
    { "x-api-key": secret, authorization: "Bearer sk-ant-other" },
  ];
  for (const headers of both) expect((await of.chat(HI, { headers })).status).toBe(200);
  const unknown = { "x-api-key": "bsk_none", authorization: `Bearer ${secret}` };
  expect((await of.chat(HI, { headers: unknown })).status).toBe(401);
});

test("two of one name, none of a number, and names with odd letters are refused", async () => {
  const of = house();
  await made(of, { name: "a" });
  await made(of, { name: "b" });
  const refusals = [
    ["POST", "/api/settings/keys", { name: "a" }, 400],
    ["PUT", "/api/settings/keys/2", { name: "a" }, 400],
    ["PUT", "/api/settings/keys/9", { name: "c" }, 404],
    ["DELETE", "/api/settings/keys/x", undefined, 404],
    ["POST", "/api/settings/keys", { name: "a b" }, 400],
    ["POST", "/api/settings/keys", { name: "c", privacy: "public" }, 400],
    ["POST", "/api/settings/keys", { name: "c", admins: true }, 400],
  ] as const;
  for (const [method, path, body, status] of refusals) {
    expect([method, body, (await of.send(method, path, body)).status]).toEqual([method, body, status]);
  }
});
