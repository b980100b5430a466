/** The list of models, one model, and the health of the server. */

import { expect, test } from "bun:test";
import { CARD, readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";

const { capabilities, family, quantization } = CARD;
const FACTS = { loaded: true, context_length: 64, capabilities, size_bytes: 100, family, quantization };
const TINY = { id: "tiny", object: "model", created: 1_700_000_000, owned_by: "local", ...FACTS };
const NAMED = { id: "org/name", object: "model", created: 1_700_000_001, owned_by: "org", ...FACTS };

test("the list has every model", async () => {
  const response = await serverOf(new ScriptedBackend()).ask("/v1/models");
  expect(await response.json()).toEqual({ object: "list", data: [TINY, NAMED] });
});

test("the list has pages for who asks as Anthropic's clients do", async () => {
  const { ask } = serverOf(new ScriptedBackend());
  const page = async (query: string) => {
    const response = await ask(`/v1/models?${query}`, { headers: { "anthropic-version": "2023-06-01" } });
    const { data, has_more, error } = Object(await response.json());
    return error?.message ?? [data.map(({ id }: { id: string }) => id), has_more];
  };
  expect(await page("limit=20")).toEqual([["tiny", "org/name"], false]);
  expect(await page("limit=1")).toEqual([["tiny"], true]);
  expect(await page("after_id=tiny")).toEqual([["org/name"], false]);
  expect(await page("before_id=org/name&limit=1")).toEqual([["tiny"], false]);
  expect(await page("after_id=x")).toBe('Cannot use query parameter "after_id": there is no model "x"');
  expect(await page("limit=0")).toContain("expected a whole number from 1 to 1000");
  expect(await page("page=1")).toContain("there is no such parameter");
});

test("a model is found by its id with its card, with its slash encoded or not", async () => {
  const { ask } = serverOf(new ScriptedBackend());
  const found = ["tiny", "org/name", "org%2Fname", "org%2fname", "%74iny"];
  const models = await Promise.all(found.map(async (id) => await (await ask(`/v1/models/${id}`)).json()));
  expect(models).toEqual([TINY, NAMED, NAMED, NAMED, TINY].map((model) => ({ ...CARD, ...model })));
});

test("what is not a model's id is not found, and named as it was asked", async () => {
  const { ask } = serverOf(new ScriptedBackend());
  const cases = { none: "none", "org%252Fname": "org%2Fname", "%E0%A4%A": "%E0%A4%A", "org/name/x": "org/name/x" };
  for (const [path, name] of Object.entries(cases)) {
    const response = await ask(`/v1/models/${path}`);
    expect(response.status).toBe(404);
    const { error } = await readProblem(response);
    expect(error).toEqual({
      message: `Cannot find model "${name}": this server does not have it`,
      type: "invalid_request_error",
      param: "model",
      code: "model_not_found",
    });
  }
});

test("health tells the version", async () => {
  const response = await serverOf(new ScriptedBackend()).ask("/health");
  expect(await response.json()).toEqual({ status: "ok", version: "1.2.3" });
});
