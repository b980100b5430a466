/** Kept responses are for the key that they were asked for with, and for administrators. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { defaultSettings } from "../../src/core/settings.ts";
import { StoredApiKeys } from "../../src/store/api-keys.ts";
import { openStore, type Store } from "../../src/store/database.ts";
import { StoredResponses } from "../../src/store/responses.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { ScriptedBackend, serverOf } from "./scripted-backend.ts";

const PATH = "/v1/responses";
const FOLDER = scratchFolder();
const backend = new ScriptedBackend();

let store: Store;
let server: ReturnType<typeof serverOf>;
const secrets: Record<string, string> = {};

beforeAll(() => {
  store = openStore(join(FOLDER, "home"));
  const keys = new StoredApiKeys(store, Date.now);
  for (const name of ["anna", "bert", "owner"]) {
    secrets[name] = keys.add({ name, admin: name === "owner", privacy: null }).secret;
  }
  const responses = new StoredResponses(store, defaultSettings(2 ** 33), Date.now);
  server = serverOf(backend, undefined, undefined, { keys, responses });
});

afterAll(() => store[Symbol.dispose]());

/** `who`: null has no key. */
function headersOf(who: string | null): Record<string, string> {
  return who === null ? {} : { "x-api-key": secrets[who] ?? "" };
}

async function statusOf(who: string | null, method: string, path: string): Promise<number> {
  return (await server.ask(`${PATH}/${path}`, { method, headers: headersOf(who) })).status;
}

async function create(who: string | null, more: object = {}) {
  const response = await server.post(PATH, { model: "tiny", input: "Hi", ...more }, headersOf(who));
  return { ...((await response.json()) as { id: string; error: { code: string } | null }), status: response.status };
}

test("another key can neither see, stream, go on from, cancel nor remove one", async () => {
  const { id } = await create("anna");
  const mark = id.replace("resp_", "");
  for (const [method, path] of [
    ["GET", id],
    ["GET", `${id}?stream=true`],
    ["GET", `${id}/input_items`],
    ["POST", `${id}/cancel`],
    ["DELETE", id],
  ] as const) {
    expect([method, path, await statusOf("bert", method, path)]).toEqual([method, path, 404]);
  }
  const on = await create("bert", { previous_response_id: id });
  expect([on.status, on.error?.code]).toEqual([404, "previous_response_not_found"]);
  const count = await server.post(
    `${PATH}/input_tokens`,
    { model: "tiny", previous_response_id: id },
    headersOf("bert"),
  );
  expect(count.status).toBe(404);
  const pointing = { input: [{ type: "item_reference", id: `msg_${mark}_0` }] };
  expect((await create("bert", pointing)).status).not.toBe(200);
  expect((await create("anna", pointing)).status).toBe(200);
});

test("its own key, an administrator's, and callers who need none go on from it", async () => {
  const { id } = await create("anna");
  for (const who of ["anna", "owner", null]) {
    expect(await statusOf(who, "GET", id)).toBe(200);
    const next = await create(who, { previous_response_id: id });
    expect(next.status).toBe(200);
    // What comes of it holds her words, whoever it is now.
    expect((await create("bert", { previous_response_id: next.id })).status).toBe(404);
    expect(await statusOf("bert", "GET", `${next.id}/input_items`)).toBe(404);
  }
  expect(await statusOf("owner", "DELETE", id)).toBe(200);
});

test("one that came without a key is everybody's", async () => {
  const { id } = await create(null);
  expect(await statusOf("bert", "GET", id)).toBe(200);
  expect((await create("bert", { previous_response_id: id })).status).toBe(200);
});
