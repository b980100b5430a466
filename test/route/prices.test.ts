/** What requests cost: by the first price that fits, in the audit and its sums, and nowhere without one. */

import { afterEach, expect, test } from "bun:test";
import { verifyAudit } from "../../src/store/audit.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { type House, openHouse, until } from "./house.ts";
import { strictOpenai } from "./strict-openai.ts";

const FOLDER = scratchFolder();
const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const PATH = "/api/settings/prices";
const USD = { prompt_per_million: 2, completion_per_million: 10, cached_per_million: 0.5, currency: "USD" };
const EUR = { prompt_per_million: 1, completion_per_million: 1, cached_per_million: null, currency: "EUR" };
const HI = { messages: [{ role: "user", content: "hi" }] };

async function ready(folder: string): Promise<House> {
  const server = strictOpenai("sk-1");
  open.push(server.stop);
  const house = openHouse({ folder });
  open.push(house.close);
  await house.set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url, api_key: "sk-1" });
  return house;
}

test("each answer whole or streamed has its cost, sums are by currency, and what has no price has none", async () => {
  const { chat, send, rows, store } = await ready(`${FOLDER}/a`);
  const prices = [
    { pattern: "gpt-dear", ...USD },
    { pattern: "cloud:gpt-?h*", ...EUR },
    { pattern: "gpt-*", ...USD },
    { pattern: "local:*", ...EUR, prompt_per_million: 0, completion_per_million: 1e6 },
  ];
  expect((await chat({ ...HI, model: "cloud:gpt-before" })).status).toBe(200);
  expect(await (await send("PUT", PATH, { prices })).json()).toEqual({ prices });
  const stream = { stream: true, stream_options: { include_usage: true } };
  await (await chat({ ...HI, ...stream, model: "cloud:gpt-dear" })).text();
  for (const model of ["cloud:gpt-cheap", "cloud:gpt-other", "cloud:else", "tiny", "cloud:"]) {
    await (await chat({ ...HI, model })).text();
  }
  await until(() => rows().length === 7);
  // The provider counts 81 tokens read, of them 64 cached, and 17 written.
  const dear = (17 * 2 + 64 * 0.5 + 17 * 10) / 1e6;
  const cheap = (81 + 17) / 1e6;
  expect(rows().map(({ model_served, cost, currency }) => [model_served, cost, currency])).toEqual([
    ["gpt-before", null, null],
    ["gpt-dear", dear, "USD"],
    ["gpt-cheap", cheap, "EUR"],
    ["gpt-other", dear, "USD"],
    ["else", null, null],
    ["tiny", 2, "EUR"],
    [null, null, null],
  ]);
  const stats = (await (await send("GET", "/admin/audit-logs/stats")).json()) as { by_backend: object[] };
  expect(stats).toMatchObject({ costs: { USD: 2 * dear, EUR: cheap + 2 } });
  expect(stats.by_backend).toContainEqual(
    expect.objectContaining({
      name: "cloud",
      requests: 5,
      prompt_tokens: 5 * 81,
      costs: { USD: 2 * dear, EUR: cheap },
    }),
  );
  const csv = await (await send("GET", "/admin/audit-logs/export?format=csv&model=tiny")).text();
  expect(csv).toMatch(/,cost,currency,steadied_lines\r\n.*,2,EUR,0\r\n$/);
  expect(verifyAudit(store).fault).toBeNull();
  store.tables.run("UPDATE audit SET currency = 'EUR' WHERE currency = 'USD'");
  expect(verifyAudit(store).fault).toMatch(/^row \d+ was changed$/);
});

test("prices come back after a restart, and those that make no sense are refused", async () => {
  const first = await ready(`${FOLDER}/b`);
  const price = { pattern: "*", prompt_per_million: 3, completion_per_million: 4, currency: "USD" };
  const stored = { prices: [{ ...price, cached_per_million: null }] };
  expect(await (await first.send("PUT", PATH, { prices: [price] })).json()).toEqual(stored);
  for (const wrong of [
    { currency: "dollars" },
    { prompt_per_million: -1 },
    { pattern: "" },
    { pattern: "x".repeat(300) },
  ]) {
    expect((await first.send("PUT", PATH, { prices: [{ ...price, ...wrong }] })).status).toBe(400);
  }
  await open.pop()?.();
  const again = openHouse({ folder: `${FOLDER}/b` });
  open.push(again.close);
  expect(await (await again.send("GET", PATH)).json()).toEqual(stored);
});
