/** The owner's routes: each answers what the document says, takes what it says, and hands on what was asked. */

import { describe, expect, test } from "bun:test";
import { Ajv } from "ajv";
import { ScriptedBackend, serverOf } from "./scripted-backend.ts";

const server = () => serverOf(new ScriptedBackend());
const json = { "content-type": "application/json" };

interface Operation {
  readonly responses: Readonly<Record<string, { content: Readonly<Record<string, { schema: object }>> }>>;
}

/** Method and path as a caller writes it, path as the document does, body. */
const ROUTES: readonly [string, string, string, object?][] = [
  ["get", "/admin/health", "/admin/health"],
  ["get", "/admin/models/status", "/admin/models/status"],
  ["post", "/admin/models/load/some%2Fmodel", "/admin/models/load/{id}"],
  ["post", "/admin/models/unload/some%2Fmodel", "/admin/models/unload/{id}"],
  ["get", "/admin/ledger", "/admin/ledger"],
  ["get", "/admin/queue", "/admin/queue"],
  ["delete", "/admin/requests/req_0", "/admin/requests/{id}"],
  ["post", "/admin/reload-config", "/admin/reload-config"],
  ["get", "/api/settings/pool", "/api/settings/pool"],
  ["get", "/api/settings/pool/status", "/api/settings/pool/status"],
  ["get", "/api/settings/timeouts", "/api/settings/timeouts"],
  ["get", "/api/settings/engine", "/api/settings/engine"],
  ["put", "/api/settings/pool", "/api/settings/pool", { max_models: 3 }],
  ["put", "/api/settings/timeouts", "/api/settings/timeouts", { chat_timeout_s: 1.5 }],
  ["put", "/api/settings/engine", "/api/settings/engine", { rows_max: 2 }],
  ["get", "/api/profiles", "/api/profiles"],
  ["get", "/api/profiles/1", "/api/profiles/{id}"],
  ["post", "/api/profiles", "/api/profiles", { name: "terse", model: "some/model", max_tokens: 8 }],
  ["put", "/api/profiles/1", "/api/profiles/{id}", { name: "terse", model: "some/model", top_p: 0.5 }],
  ["post", "/api/profiles/1/duplicate", "/api/profiles/{id}/duplicate"],
  ["delete", "/api/profiles/1", "/api/profiles/{id}"],
];

test.each([...ROUTES])("%s %s answers as the document says", async (method, path, documented, body) => {
  const { ask } = server();
  const init = body === undefined ? {} : { body: JSON.stringify(body), headers: json };
  const response = await ask(path, { method: method.toUpperCase(), ...init });
  expect(response.status).toBe(200);
  const document = (await (await ask("/openapi.json")).json()) as { paths: Record<string, Record<string, Operation>> };
  const schema = document.paths[documented]?.[method]?.responses["200"]?.content["application/json"]?.schema;
  const check = new Ajv({ strict: false, validateFormats: false }).compile(schema ?? false);
  const answered = await response.json();
  expect(check(answered) ? null : check.errors).toBeNull();
});

describe("an id", () => {
  test.each(["/admin", "/v1/admin"])("with slashes reaches the pool under %s", async (prefix) => {
    const { ask, owner } = server();
    for (const id of ["some/model", "some%2Fmodel"]) {
      await ask(`${prefix}/models/load/${id}`, { method: "POST" });
      await ask(`${prefix}/models/unload/${id}`, { method: "POST" });
      const told = await ask(`${prefix}/models/${id}/loading-progress`);
      expect(await told.text()).toBe(
        'data: {"stage":"weights","bytes_done":1,"bytes_total":2}\n\ndata: {"stage":"ready"}\n\n',
      );
    }
    const once = ["load", "unload", "progress"].map((act) => [act, "some/model"]);
    expect(owner.asked).toEqual([...once, ...once]);
  });
});

test("a body that would not be read is refused", async () => {
  const { ask, owner } = server();
  const refused = await ask("/admin/reload-config", { method: "POST", body: "{}", headers: json });
  expect(refused.status).toBe(400);
  expect(owner.asked).toEqual([]);
});

test("a change without a setting, or with one of another group, is refused", async () => {
  const { ask, owner } = server();
  for (const body of [{}, { rows_max: 3 }, { max_models: null }]) {
    const response = await ask("/api/settings/pool", { method: "PUT", body: JSON.stringify(body), headers: json });
    expect(response.status).toBe(400);
  }
  expect(owner.asked).toEqual([]);
});
