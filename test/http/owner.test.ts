/** The owner's routes: what each hands on and what it refuses. That they answer as documented is the contract's test. */

import { describe, expect, test } from "bun:test";
import { ScriptedBackend, serverOf } from "./scripted-backend.ts";

const server = () => serverOf(new ScriptedBackend());
const json = { "content-type": "application/json" };

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

test("the audit and the dry run answer under both prefixes", async () => {
  const { ask } = server();
  for (const prefix of ["/admin", "/v1/admin"]) {
    for (const path of ["audit-logs?limit=1", "audit-logs/stats?status=error"]) {
      expect((await ask(`${prefix}/${path}`)).status).toBe(200);
    }
    const body = '{"model":"tiny"}';
    const asked = await ask(`${prefix}/route/explain`, { method: "POST", headers: json, body });
    expect(await asked.text()).toContain("Cannot explain a route: this server has none");
  }
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
