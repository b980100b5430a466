/** Profiles of a running server: names for a model with defaults, each on its own, kept over a restart. */

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import OpenAI from "openai";
import { scratchFolder } from "../formats/scratch.ts";
import { STORIES } from "../models/fixtures.ts";
import { MODEL as BIG, Served } from "../served.ts";

const SMALL = STORIES.replace(/^.*\//, "");
const HOME = scratchFolder();

interface Body {
  readonly id: number;
  readonly name: string;
  readonly data: readonly { readonly id: number | string; readonly name: string }[];
  readonly loaded_models: readonly { readonly model_id: string; readonly preloaded: boolean }[];
  readonly preloads: readonly object[];
  readonly detail: string;
  readonly error: { readonly code: string; readonly param: string };
  readonly cache: { readonly bytes_per_token: number };
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
  readonly choices: readonly { readonly message: { readonly content: string } }[];
}

let server: Served;

async function start(): Promise<void> {
  const variables = { BUNSEN_PRELOAD_MODELS: BIG };
  server = await Served.start(["--model", BIG, "--model", STORIES], { home: HOME, variables });
}

const ask = (method: string, path: string, body?: object) => server.ask<Body>(method, path, body);
const add = (words: object) => ask("POST", "/api/profiles", words);
const chat = (model: string, more: object = {}) =>
  ask("POST", "/v1/chat/completions", { model, messages: [{ role: "user", content: "Name a colour" }], ...more });
const preloaded = async () =>
  (await ask("GET", "/admin/models/status")).body.loaded_models
    .filter((model) => model.preloaded)
    .map(({ model_id }) => model_id);

beforeAll(start, 60_000);

afterEach(async () => {
  for (const { id } of (await ask("GET", "/api/profiles")).body.data) await ask("DELETE", `/api/profiles/${id}`);
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

test("an alias answers as its model does, under its own name, and is listed", async () => {
  await add({ name: "house/model", model: BIG });
  const [own, alias] = [await chat(BIG, { max_tokens: 6 }), await chat("house/model", { max_tokens: 6 })];
  expect(alias.body.choices).toEqual(own.body.choices);
  expect(alias.body).toMatchObject({ model: "house/model" });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
  const listed = (await client.models.list()).data.map(({ id }) => id);
  expect(listed.sort()).toEqual([BIG, "house/model", SMALL].sort());
  expect((await client.models.retrieve("house/model")).id).toBe("house/model");
}, 30_000);

test("a request wins over its profile, the profile over the model; two profiles do not touch each other", async () => {
  await add({ name: "short", model: BIG, max_tokens: 3 });
  await add({ name: "told", model: BIG, max_tokens: 5, system_prompt: "You answer only with the word blue." });
  const tokens = async (model: string, more: object = {}) => (await chat(model, more)).body.usage;
  const short = await tokens("short");
  expect(short.completion_tokens).toBe(3);
  expect((await tokens("short", { max_tokens: 2 })).completion_tokens).toBe(2);
  const told = await tokens("told");
  expect(told.prompt_tokens).not.toBe(short.prompt_tokens);
  const messages = [
    { role: "system", content: "You answer only with the word blue." },
    { role: "user", content: "Name a colour" },
  ];
  expect((await tokens("short", { messages })).prompt_tokens).toBe(told.prompt_tokens);
  const other = [{ role: "system", content: "Hm" }, messages[1]];
  expect((await tokens("told", { messages: other })).prompt_tokens).toBe(
    (await tokens(BIG, { messages: other, max_tokens: 1 })).prompt_tokens,
  );
}, 30_000);

test("temperature and top_p are the profile's unless the request has its own", async () => {
  await add({ name: "wild", model: BIG, temperature: 2, max_tokens: 12 });
  await add({ name: "tame", model: BIG, temperature: 2, top_p: 0.000001, max_tokens: 12 });
  const text = async (model: string, more: object = {}) => (await chat(model, { seed: 5, ...more })).body.choices;
  const greedy = await text(BIG, { max_tokens: 12 });
  expect(await text("wild")).not.toEqual(greedy);
  expect(await text("tame")).toEqual(greedy);
  expect(await text("wild", { temperature: 0 })).toEqual(greedy);
}, 30_000);

test("options of the chat template are the profile's, name by name", async () => {
  await add({ name: "templated", model: BIG, template_options: { colour: "red" }, max_tokens: 1 });
  const refused = await chat("templated");
  expect([refused.status, refused.body.error.param]).toEqual([400, "chat_template_kwargs.colour"]);
  const named = await chat("templated", { chat_template_kwargs: { shade: "dark" } });
  expect([named.status, named.body.error.param]).toEqual([400, "chat_template_kwargs.colour"]);
}, 30_000);

test("a context length holds for whoever asks by that name", async () => {
  await add({ name: "narrow", model: BIG, context_length: 40 });
  const prompt = "Once upon a time";
  const { body } = await ask("POST", "/v1/completions", { model: "narrow", prompt, max_tokens: 200, ignore_eos: true });
  expect(body.usage.prompt_tokens + body.usage.completion_tokens).toBe(40);
  const refused = await ask("POST", "/v1/completions", { model: "narrow", prompt: prompt.repeat(20) });
  expect(refused.status).toBe(400);
  expect(refused.body.detail).toContain(`"${BIG}" takes 40 with the answer`);
}, 30_000);

test("the bits of keys and values are its model's by every name, until no profile says them", async () => {
  const fits = async () => {
    const body = { model: BIG, prompt: "Once upon a time", max_tokens: 400, ignore_eos: true };
    const { usage } = (await ask("POST", "/v1/completions", body)).body;
    return usage.prompt_tokens + usage.completion_tokens;
  };
  const tokenBytes = async () => (await ask("GET", `/v1/models/${BIG}`)).body.cache.bytes_per_token;
  await ask("PUT", "/api/settings/engine", { kv_bytes_max: 4 * 2 ** 20 });
  const [before, bytes] = [await fits(), await tokenBytes()];
  const { body } = await add({ name: "small", model: BIG, kv_bits: 8 });
  expect([await fits(), await tokenBytes()]).toEqual([320, (bytes * 9) / 32]);
  const other = await add({ name: "smaller", model: BIG, kv_bits: 4 });
  expect([other.status, other.body.error.param]).toEqual([400, "kv_bits"]);
  await ask("DELETE", `/api/profiles/${body.id}`);
  expect([before, await fits(), await tokenBytes()]).toEqual([64, 64, bytes]);
  await ask("PUT", "/api/settings/engine", { kv_bits: 4 });
  expect(await fits()).toBe(400 + 4); // as much as was asked for
  await ask("PUT", "/api/settings/engine", { kv_bits: 32, kv_bytes_max: 2 ** 30 });
}, 60_000);

test("bits that the model's heads do not divide into groups are refused when it is loaded", async () => {
  await add({ name: "uneven", model: SMALL, kv_bits: 8 });
  const { status, body } = await chat("uneven");
  expect([status, body.error.param]).toEqual([400, "kv_bits"]);
  expect(body.detail).toContain("heads of whole groups of 32 are needed, found head_dim 8");
}, 30_000);

test("auto_load keeps its model in memory until no profile asks for it", async () => {
  const { body } = await add({ name: "ready", model: SMALL, auto_load: true });
  expect(body.preloads).toContainEqual({ model_id: SMALL, status: "loaded", reason: null });
  expect(await preloaded()).toContain(SMALL);
  await ask("PUT", `/api/profiles/${body.id}`, { name: "ready", model: SMALL });
  expect(await preloaded()).toEqual([BIG]);
}, 30_000);

test("a duplicate has a name of its own, and what a profile lacks is said", async () => {
  const { body } = await add({ name: "one", model: BIG, max_tokens: 3 });
  const copy = await ask("POST", `/api/profiles/${body.id}/duplicate`);
  expect(copy.body).toMatchObject({ name: "one-2", model: BIG, max_tokens: 3 });
  expect((await ask("POST", `/api/profiles/${body.id}/duplicate`)).body.name).toBe("one-3");
  expect((await ask("DELETE", `/api/profiles/${body.id}`)).status).toBe(200);
  expect((await ask("GET", `/api/profiles/${body.id}`)).status).toBe(404);
  expect((await chat("one")).status).toBe(404);
  expect((await chat("one-2")).body.usage.completion_tokens).toBe(3);
}, 30_000);

test.each([
  ["name", { name: BIG, model: BIG }],
  ["name", { name: "taken", model: BIG }],
  ["model", { name: "new", model: "org/none" }],
  ["model", { name: "new", model: "taken" }],
  ["temperature", { name: "new", model: BIG, temperature: 3 }],
  ["stop", { name: "new", model: BIG, stop: "x" }],
  ["kv_bits", { name: "new", model: BIG, kv_bits: 5 }],
])("of no use by its %s, a profile is refused: %j", async (parameter, words) => {
  await add({ name: "taken", model: BIG });
  const refused = await add(words);
  expect([refused.status, refused.body.error.param]).toEqual([400, parameter]);
  expect((await ask("GET", "/api/profiles")).body.data).toHaveLength(1);
});

test("a restart keeps them, and loads what is to be there", async () => {
  await add({ name: "kept", model: SMALL, auto_load: true });
  expect(await server.stop()).toBe(0);
  await start();
  expect((await ask("GET", "/api/profiles")).body.data).toMatchObject([{ name: "kept", model: SMALL }]);
  expect((await preloaded()).sort()).toEqual([BIG, SMALL].sort());
}, 60_000);
