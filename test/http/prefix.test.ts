/** What of a chat the prefix cache holds, as the caller reads it. */

import { expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import { prefixSchema } from "../../src/wire/prefix.ts";
import { EXPLANATION, ScriptedBackend, serverOf } from "./scripted-backend.ts";

const { post } = serverOf(new ScriptedBackend());
const CHAT = { model: "tiny", messages: [{ role: "user", content: "What is it?" }] };

test("a chat is explained as the cache explains it", async () => {
  const body = await (await post("/v1/debug/prefix", CHAT)).json();
  expect(body).toEqual({ model: "tiny", ...EXPLANATION });
  expect(Value.Check(prefixSchema, body)).toBe(true);
});

test("what a chat may not say is refused here too", async () => {
  expect((await post("/v1/debug/prefix", { ...CHAT, messages: [] })).status).toBe(400);
  expect((await post("/v1/debug/prefix", { ...CHAT, functions: [] })).status).toBe(400);
});
