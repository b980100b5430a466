/** Responses that run on when their caller leaves: their body, and their events from any place, by the official client. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import OpenAI, { APIError } from "openai";
import { Failure } from "../../src/core/failure.ts";
import type { GenerationEvent, GenerationRequest } from "../../src/core/generation.ts";
import { defaultSettings } from "../../src/core/settings.ts";
import { type Listening, listen } from "../../src/http/listen.ts";
import { openStore, type Store } from "../../src/store/database.ts";
import { StoredResponses } from "../../src/store/responses.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { endless, failing, hello, type Script, ScriptedBackend, said, serverOf, USAGE } from "./scripted-backend.ts";
import { type ScriptedModel, scriptedModel } from "./scripted-model.ts";

const FOLDER = scratchFolder();
const PATH = "/v1/responses";
const HI = { model: "tiny", input: "Hi" } as const;
const asked = { ...HI, background: true } as const;
const streamed = { ...asked, stream: true } as const;

type Event = OpenAI.Responses.ResponseStreamEvent;

let store: Store;
let model: ScriptedModel;
let listening: Listening;
let client: OpenAI;

beforeAll(() => {
  mkdirSync(join(FOLDER, "tiny"), { recursive: true });
  store = openStore(join(FOLDER, "home"));
  const template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>";
  model = scriptedModel(join(FOLDER, "tiny"), template, [], shelf());
  listening = listen(model.server.app, { host: "127.0.0.1", port: 0 });
  client = clientOf(listening);
});

afterAll(async () => {
  await listening.stop();
  await model[Symbol.asyncDispose]();
  store[Symbol.dispose]();
});

const shelf = () => new StoredResponses(store, defaultSettings(2 ** 33), Date.now);
const clientOf = ({ url }: Listening) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

function serverWith(script: Script) {
  const backend = new ScriptedBackend(script);
  return { backend, ...serverOf(backend, undefined, 20, { responses: shelf() }) };
}

async function ended(api: OpenAI, id: string) {
  for (let waited_ms = 0; waited_ms < 3000; waited_ms += 5) {
    const response = await api.responses.retrieve(id);
    if (response.status !== "queued" && response.status !== "in_progress") return response;
    await Bun.sleep(5);
  }
  throw new Error("Not within 3 s");
}

async function errorOf(promise: PromiseLike<unknown>): Promise<APIError> {
  const error = await Promise.resolve(promise).catch((error: unknown) => error);
  if (error instanceof APIError) return error;
  throw new Error(`Not an error of the client: ${Bun.inspect(error)}`);
}

/** Says a word each time that it is let. */
function stepwise() {
  const words: PromiseWithResolvers<string | null>[] = [Promise.withResolvers()];
  return {
    say(word: string | null) {
      words.at(-1)?.resolve(word);
      words.push(Promise.withResolvers());
    },
    async *script(_: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void> {
      yield { kind: "start", prompt_tokens: 5 };
      const left = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      left.catch(() => undefined);
      for (let index = 0; ; index++) {
        const word = await Promise.race([words[index]?.promise, left]);
        if (typeof word !== "string") break;
        yield said(word);
      }
      yield { kind: "finish", choice: 0, reason: "stop", stop_text: null };
      yield { kind: "end", usage: USAGE };
    },
  };
}

test("an answer in the background is told of at once, found by its id when it has ended, and then gone on from", async () => {
  model.answers.push("Hello.", "Yes.");
  const told = await client.responses.create(asked);
  expect(told).toMatchObject({ status: "queued", output: [], background: true });
  const response = await ended(client, told.id);
  expect(response).toMatchObject({ status: "completed", output_text: "Hello.", background: true });
  expect(model.server.audit.at(-1)).toMatchObject({ endpoint: "responses", status: "success" });
  await client.responses.create({ model: "tiny", input: "And?", previous_response_id: told.id });
  expect(model.prompts[1]).toBe("<user>Hi<assistant>Hello.<user>And?<assistant>");
  // One that has ended is what it is.
  const { output, usage } = response;
  expect(await client.responses.cancel(told.id)).toMatchObject({ status: "completed", output, usage });
});

test("it runs on when its caller leaves, and ends when it is cancelled or deleted", async () => {
  const backend = new ScriptedBackend(endless);
  const house = serverOf(backend);
  const server = listen(house.app, { host: "127.0.0.1", port: 0 });
  const api = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  try {
    const { id } = await api.responses.create(asked, { headers: { connection: "close" } });
    await Bun.sleep(30);
    expect([backend.closed, (await api.responses.retrieve(id)).status]).toEqual([0, "in_progress"]);
    const early = await errorOf(api.responses.create({ ...HI, previous_response_id: id }));
    expect([early.status, early.param]).toEqual([400, "previous_response_id"]);
    expect(await api.responses.cancel(id)).toMatchObject({ status: "cancelled", error: null });
    expect(backend.closed).toBe(1);
    expect(await api.responses.cancel(id)).toMatchObject({ status: "cancelled" });
    const rows = house.audit.filter(({ dialect }) => dialect === "openai");
    expect(rows.map(({ status }) => status)).toEqual(["error", "cancelled"]);
    const other = await api.responses.create(asked);
    await api.responses.delete(other.id);
    expect(backend.closed).toBe(2);
    expect((await errorOf(api.responses.retrieve(other.id))).status).toBe(404);
    expect(house.bugs).toBeEmpty();
  } finally {
    await server.stop();
  }
});

test("one that fails says so by its id, and one that a stopped server left has failed", async () => {
  const failed = serverWith(failing(new Failure("engine", "Cannot go on: it died"), 0));
  const { id } = (await (await failed.post(PATH, asked)).json()) as { id: string };
  await Bun.sleep(20);
  const body = await (await failed.ask(`${PATH}/${id}`)).json();
  expect(body).toMatchObject({ status: "failed", error: { code: "server_error", message: "Cannot go on: it died" } });
  const never = serverWith(endless);
  const left = (await (await never.post(PATH, { ...asked, input: "x" })).json()) as { id: string };
  const next = serverWith(hello);
  expect(await (await next.ask(`${PATH}/${left.id}`)).json()).toMatchObject({ status: "failed", background: true });
  const last = `{"type":"response.failed","sequence_number":`;
  const again = async (query: string) => await (await next.ask(`${PATH}/${left.id}?stream=true${query}`)).text();
  expect(await again("")).toMatch(/^event: response.created\n.*"sequence_number":0.*\n\nevent: response.failed\n.*:1,/);
  expect(await again("&starting_after=50")).toStartWith(`event: response.failed\ndata: ${last}51,`);
  const on = { ...HI, input: "Well?", previous_response_id: left.id };
  expect((await never.post(PATH, on)).status).toBe(400);
  expect((await next.post(PATH, on)).status).toBe(200);
  expect(next.backend.last.prompt).toMatchObject({ messages: [{ role: "user", content: "x\n\nWell?" }] });
  await never.ask(`${PATH}/${left.id}/cancel`, { method: "POST" });
});

test("a stream that was lost is gone on with behind any of its events, while it runs, when it has ended, and over a restart", async () => {
  const talk = stepwise();
  const house = serverWith(talk.script);
  const server = listen(house.app, { host: "127.0.0.1", port: 0 });
  const api = clientOf(server);
  try {
    const seen: Event[] = [];
    const first = await api.responses.create(streamed);
    talk.say("one ");
    for await (const event of first) {
      seen.push(event);
      if (event.type === "response.output_text.delta") break; // the connection is lost
    }
    const types = ["created", "queued", "in_progress", "output_item.added", "content_part.added", "output_text.delta"];
    expect(seen.map(({ type }) => type)).toEqual(types.map((name) => `response.${name}`) as Event["type"][]);
    const [created] = seen;
    if (created?.type !== "response.created") throw new Error("Not the first event");
    const { id } = created.response;
    talk.say("two ");
    await Bun.sleep(40);
    expect(house.backend.closed).toBe(0);
    expect(await api.responses.retrieve(id)).toMatchObject({ status: "in_progress", background: true });
    const [missed, again] = await Promise.all([
      api.responses.retrieve(id, { stream: true, starting_after: seen.length - 1 }),
      api.responses.retrieve(id, { stream: true }),
    ]);
    const rest: Event[] = [];
    for await (const event of missed) {
      rest.push(event);
      if (rest.length === 1) talk.say("three");
      if (rest.length === 2) talk.say(null);
    }
    const whole = await Array.fromAsync(again);
    expect(rest.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : []))).toEqual([
      "two ",
      "three",
    ]);
    expect([...seen, ...rest]).toEqual(whole);
    expect(whole.map(({ sequence_number }) => sequence_number)).toEqual(whole.map((_, index) => index));
    const last = whole.at(-1);
    expect(last).toMatchObject({ type: "response.completed", response: { status: "completed" } });
    const { app } = serverWith(hello);
    for (const place of [app, house.app]) {
      const after = async (number: number) => {
        const query = `stream=true&starting_after=${number}`;
        const text = await (await place.handle(new Request(`http://localhost${PATH}/${id}?${query}`))).text();
        return text
          .split("\n\n")
          .flatMap((block) => (block === "" ? [] : [JSON.parse(block.split("\ndata: ")[1] ?? "")]));
      };
      for (const number of [0, 7, whole.length - 2]) expect(await after(number)).toEqual(whole.slice(number + 1));
      expect(await after(whole.length)).toEqual([]);
    }
    if (last?.type === "response.completed")
      expect(await api.responses.retrieve(id)).toMatchObject({ ...last.response });
    expect(house.bugs).toBeEmpty();
  } finally {
    await server.stop();
  }
});

test("the official client's stream begins anew by the id alone, and puts the whole together", async () => {
  model.answers.push("Hello there.");
  const begun = client.responses.stream(asked);
  let id = "";
  for await (const event of begun) {
    if (event.type !== "response.created") continue;
    id = event.response.id;
    break;
  }
  const said = await client.responses.stream({ response_id: id }).finalResponse();
  expect(said).toMatchObject({ id, status: "completed", output_text: "Hello there." });
});

test("a silent stream says that somebody is there, and ends where the answer is cancelled", async () => {
  const house = serverWith(stepwise().script);
  const response = await house.post(PATH, streamed);
  expect(response.headers.get("content-type")).toStartWith("text/event-stream");
  const id = "resp_000000000001"; // of this server's first request
  const reading = response.text();
  await Bun.sleep(50);
  expect((await house.ask(`${PATH}/${id}/cancel`, { method: "POST" })).status).toBe(200);
  const text = await reading;
  const words = /^: .*\n\n/gm;
  expect(text).toMatch(words);
  expect(text.match(/^event: .*$/gm)).toEqual([
    "event: response.created",
    "event: response.queued",
    "event: response.in_progress",
    "event: response.failed",
  ]);
  expect(text).toContain('"status":"cancelled","error":null');
  expect(house.backend.closed).toBe(1);
  const again = await (await house.ask(`${PATH}/${id}?stream=true`)).text();
  expect(again).toBe(text.replace(words, ""));
});

test("a place that is no place is refused, and so are other words in the query", async () => {
  model.answers.push("Hello.");
  const { id } = await client.responses.create(asked);
  await ended(client, id);
  const CASES = ["starting_after=1", "stream=true&starting_after=-1", "stream=true&starting_after=x", "stream=yes"];
  for (const query of [
    ...CASES,
    "stream=true&include_obfuscation=true",
    "more=1",
    "include[]=reasoning.encrypted_content",
  ]) {
    expect([query, (await model.server.ask(`${PATH}/${id}?${query}`)).status]).toEqual([query, 400]);
  }
});
