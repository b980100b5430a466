/** The server's prefix cache over a restart, and the settings that reach the engine from outside. */

import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import type { PrefixExplanation } from "../../src/core/prefix.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { MODEL, Served } from "../served.ts";

const SCRATCH = scratchFolder();

/** Starts a server, lets `use` ask it, and ends it as an owner would. */
async function serve<Result>(
  home: string,
  use: (client: OpenAI) => Promise<Result>,
  words: readonly string[] = [],
  variables: Readonly<Record<string, string>> = {},
): Promise<Result> {
  await using server = await Served.start(words, { home, variables });
  const result = await use(new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 }));
  expect(await server.stop()).toBe(0);
  return result;
}

/** 100 tokens: three full blocks. */
const ask = async (client: OpenAI) => {
  const prompt = Array.from({ length: 100 }, (_, index) => 500 + index);
  return (await client.completions.create({ model: MODEL, prompt, temperature: 0, max_tokens: 4 })).choices[0]?.text;
};

const kept = (home: string) => readdirSync(join(home, ".bunsen/prefix-cache"));

test("a server that is told to stop keeps what it has read, and the next one answers the same with it", async () => {
  const home = mkdtempSync(join(SCRATCH, "home-"));
  const cold = await serve(home, ask);
  const files = kept(home);
  expect(files.length).toBe(3);
  expect(await serve(home, ask)).toBe(cold ?? "");
  expect(kept(home)).toEqual(files);
}, 60_000);

test("a miss is explained by the first token that differs, and the words around it", async () => {
  const home = mkdtempSync(join(SCRATCH, "home-"));
  const rules = "You answer in one short sentence, and always name the day, the place and the weather. ".repeat(3);
  const chat = (town: string) => {
    const content = `${rules}It is Monday in ${town}. That is all I want to know.`;
    return { model: MODEL, messages: [{ role: "user" as const, content }] };
  };
  const ask = async (client: OpenAI): Promise<PrefixExplanation> => {
    await client.chat.completions.create({ ...chat("Rome"), max_tokens: 40 });
    return await client.post("/debug/prefix", { body: chat("Oslo") });
  };
  const { prompt_tokens, matched_tokens, departure } = await serve(home, ask);
  expect(matched_tokens % 32).toBe(0);
  expect(matched_tokens).toBeGreaterThan(32);
  expect(prompt_tokens).toBeGreaterThan(matched_tokens);
  expect(departure?.position).toBeGreaterThanOrEqual(matched_tokens);
  expect(departure?.prompt.text_before).toEndWith("It is Monday in");
  expect(departure?.cached.text_before).toBe(departure?.prompt.text_before ?? "");
  expect(departure?.prompt.text_after).toStartWith(" Oslo. That");
  expect(departure?.cached.text_after).toStartWith(" Rome. That");
}, 60_000);

test("an option goes before a variable, and a variable before the default", async () => {
  const home = mkdtempSync(join(SCRATCH, "home-"));
  const block_bytes = 1_474_560;
  const variables = { BUNSEN_KV_BYTES_MAX: String(64 * block_bytes), BUNSEN_KV_DISK_BYTES_MAX: "0" };
  const overlong = async (client: OpenAI) => {
    await ask(client);
    const prompt = Array.from({ length: 5000 }, () => 500);
    return await client.completions.create({ model: MODEL, prompt }).then(String, (error: Error) => error.message);
  };
  expect(await serve(home, overlong, [], variables)).toContain("takes 2048 with the answer");
  expect(kept(home)).toEqual([]);
  const words = ["--kv-bytes-max", String(32 * block_bytes)];
  expect(await serve(home, overlong, words, variables)).toContain("takes 1024 with the answer");
}, 60_000);
