/** The token of the hub: where it comes from, whom it is told, and that it is never shown. */

import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder, write } from "../formats/scratch.ts";
import { openHouse } from "../route/house.ts";
import { runToEnd } from "../served.ts";
import { type StrictHub, strictHub, TOKEN } from "./strict-hub.ts";

const FOLDER = scratchFolder();
const PATH = "/api/settings/huggingface";
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

let houses = 0;

async function houseBefore(given: string | null = null, folder = join(FOLDER, String(houses++))) {
  const hub = strictHub();
  const house = openHouse({ folder, hub_token: { token: given, file: join(folder, "token") } });
  open.push(house.close, () => hub[Symbol.dispose]());
  const ask = async (method: string, path = PATH, body?: object) => {
    const response = await house.send(method, path, body);
    const text = await response.text();
    expect(text).not.toMatch(/hf_(?!endpoint)/);
    return { status: response.status, body: JSON.parse(text) };
  };
  await ask("PUT", PATH, { hf_endpoint: hub.url });
  return { hub, house, folder, ask };
}

const tested = async ({ ask }: { ask: (method: string, path: string) => Promise<{ body: object }> }) =>
  (await ask("POST", `${PATH}/test`)).body;

test("a stored token is told to the hub as a bearer's, and to nobody else", async () => {
  const all = await houseBefore();
  expect((await all.ask("GET")).body).toEqual({ hf_endpoint: all.hub.url, token: "none" });
  expect(await tested(all)).toMatchObject({ outcome: "no_token", name: null });
  expect(all.hub.asked).toEqual([]);
  expect((await all.ask("PUT", PATH, { token: TOKEN })).body).toEqual({ hf_endpoint: all.hub.url, token: "stored" });
  expect(await tested(all)).toMatchObject({ outcome: "ok", name: "ada" });
  expect(all.hub.asked).toEqual([`GET /api/whoami-v2 Bearer ${TOKEN}`]);
  const kept = readdirSync(all.folder).map((file) => readFileSync(join(all.folder, file), "latin1"));
  expect(kept.join()).not.toContain(TOKEN);
  expect((await all.ask("DELETE")).body).toMatchObject({ token: "none" });
  expect(await tested(all)).toMatchObject({ outcome: "no_token" });
});

test("stored goes before the environment, and that before the file of Hugging Face's tools", async () => {
  const all = await houseBefore("hf_ofEnvironment");
  write(join(all.folder, "token"), "hf_ofFile\n");
  expect((await all.ask("GET")).body).toMatchObject({ token: "environment" });
  expect(await tested(all)).toMatchObject({ outcome: "unauthorised" });
  await all.ask("PUT", PATH, { token: TOKEN });
  expect(await tested(all)).toMatchObject({ outcome: "ok" });
  const [first, second] = all.hub.asked;
  expect([first, second]).toEqual(["hf_ofEnvironment", TOKEN].map((token) => `GET /api/whoami-v2 Bearer ${token}`));
  const file = await houseBefore();
  write(join(file.folder, "token"), `${TOKEN}\n`);
  expect((await file.ask("GET")).body).toMatchObject({ token: "file" });
  expect(await tested(file)).toMatchObject({ outcome: "ok" });
});

test("a token is kept over a restart and a new secret; without its secret it is lost", async () => {
  const first = await houseBefore();
  await first.ask("PUT", PATH, { token: TOKEN });
  expect(await first.house.rotate()).toEqual({ sealed: 1, lost: [] });
  expect(await tested(first)).toMatchObject({ outcome: "ok" });
  await open.shift()?.();
  const second = await houseBefore(null, first.folder);
  expect(await tested(second)).toMatchObject({ outcome: "ok" });
  await open.splice(1, 1)[0]?.();
  rmSync(join(first.folder, "secret"));
  const third = await houseBefore(null, first.folder);
  expect(await tested(third)).toMatchObject({ outcome: "token_lost" });
  expect((await third.ask("GET")).body).toMatchObject({ token: "lost" });
});

test("what cannot be used is refused, and a wrong token is not said back", async () => {
  const { ask } = await houseBefore();
  const wrong = [
    {},
    { token: "hf_ with a space" },
    { token: "" },
    { token: 7 },
    { hf_endpoint: "ftp://a" },
    { key: "a" },
  ];
  for (const body of wrong) expect((await ask("PUT", PATH, body)).status).toBe(400);
  expect((await ask("GET")).body).toMatchObject({ token: "none" });
});

test("where nothing may leave this machine, another machine's hub is not asked", async () => {
  const { house, ask } = await houseBefore();
  house.settings.enable_cloud_routing = "off";
  await ask("PUT", PATH, { token: TOKEN });
  expect(await tested({ ask })).toMatchObject({ outcome: "ok" });
  await ask("PUT", PATH, { hf_endpoint: "https://hub.example" });
  expect(await ask("POST", `${PATH}/test`)).toMatchObject({ status: 403 });
});

test("a hub that is not there is told", async () => {
  const { ask } = await houseBefore();
  await ask("PUT", PATH, { token: TOKEN, hf_endpoint: "http://127.0.0.1:9" });
  expect(await tested({ ask })).toMatchObject({ outcome: "unreachable" });
});

describe("fit of a model that is not here", () => {
  const HOME = scratchFolder();

  async function fitted(hub: StrictHub, name: string, variables: Record<string, string> = {}) {
    const given = { home: HOME, variables: { HF_ENDPOINT: hub.url, ...variables } };
    const { code, errors, output } = await runToEnd(["fit", name, "--json"], given);
    return { code, error: errors, facts: output === "" ? null : JSON.parse(output) };
  }

  test("asks the hub for its config and the sizes of its files, and fetches no weights", async () => {
    using hub = strictHub();
    const { code, facts } = await fitted(hub, "org/open");
    expect(facts).toMatchObject({
      name: "org/open",
      fits: true,
      download_bytes: 1_501_000,
      weights_bytes: 1_500_000,
      context_length: 2048,
      kv_bytes: 2 * 3 * 2 * 16 * 4 * 2048,
    });
    expect(code).toBe(0);
    expect(hub.asked).toEqual([
      "GET /api/models/org/open?blobs=true none",
      "GET /org/open/resolve/0123abcd/config.json none",
    ]);
    expect((await fitted(hub, "org/renamed")).facts).toMatchObject({ weights_bytes: 1_500_000 });
    const tight = await fitted(hub, "org/open", { BUNSEN_MEMORY_LIMIT_MODE: "gb", BUNSEN_MEMORY_LIMIT_VALUE: "0.001" });
    expect([tight.code, tight.facts.fits]).toEqual([1, false]);
  }, 30_000);

  test("needs the token for one that is gated, and tells what speaks against it", async () => {
    using hub = strictHub();
    const refused = await fitted(hub, "org/gated");
    expect(refused).toMatchObject({ code: 1, facts: null });
    expect(refused.error).toContain('Cannot read "org/gated" on the hub: it is private or gated');
    const told = await fitted(hub, "org/gated", { HF_TOKEN: TOKEN });
    expect(told.facts).toMatchObject({ fits: false, not_supported: [expect.stringContaining('"mamba9"')] });
  }, 30_000);

  test("is refused where the hub cannot tell, with the reason, and a redirect is not told the token", async () => {
    using hub = strictHub();
    const env = { HF_TOKEN: TOKEN };
    expect((await fitted(hub, "org/packed", env)).error).toContain(
      'Cannot tell what "org/packed" needs: it has GGUF files',
    );
    expect((await fitted(hub, "org/none", env)).error).toContain('Cannot read "org/none" on the hub: it is not there');
    expect((await fitted(hub, "none", env)).error).toContain('Cannot use "none" as a model');
    await fitted(hub, "org/elsewhere", env);
    expect(hub.asked.at(-1)).toBe("GET /api/whoami-v2 none");
  }, 30_000);
});
