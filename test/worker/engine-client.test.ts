/** The engine behind its thread boundary: real worker, real MLX, small models. */

import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import { PLAIN_SAMPLING } from "../../src/core/generation.ts";
import { EngineClient, type RowRequest } from "../../src/worker/client.ts";
import type { FromEngine, RowProgress } from "../../src/worker/messages.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { engineParts } from "../open-mlx.ts";
import { ROOT } from "../root.ts";

const GREEDY = { ...PLAIN_SAMPLING, temperature: 0, seed: 0 };
const FOLDER = scratchFolder();
const NEVER = new AbortController().signal;

let spawned: Worker[] = [];
let clients: EngineClient[] = [];

beforeAll(prepareFixtures, 120_000);

afterEach(async () => {
  for (const client of clients) await client.close();
  clients = [];
  spawned = [];
});

function startClient(parts = engineParts(FOLDER)): EngineClient {
  const client = new EngineClient(() => {
    const worker = new Worker(join(ROOT, "src/worker/main.ts"));
    spawned.push(worker);
    return worker;
  }, parts);
  clients.push(client);
  return client;
}

function row(model: string, changes: Partial<RowRequest> = {}): RowRequest {
  const { prompt_ids } = fixture(model).expected;
  const limits = { tokens_max: 20, tokens_min: 0, stop_token_ids: [], grammar: null, tokens: null };
  return { model, prompt_ids, sampling: GREEDY, logprobs: null, ...limits, ...changes };
}

async function tokens(rows: AsyncIterable<RowProgress>): Promise<number[]> {
  const all: number[] = [];
  for await (const { token_ids } of rows) all.push(...token_ids);
  return all;
}

async function failureOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "no failure",
    (error: Error) => error.message,
  );
}

test("a row's tokens come through the worker", async () => {
  const client = startClient();
  const { path, expected } = fixture("untied");
  const loaded = await client.load("untied", path);
  expect(loaded.vocabulary_size).toBe(256);
  expect(loaded.bytes_resident).toBeGreaterThan(100_000);
  expect(await tokens(client.generate(row("untied"), NEVER))).toEqual(expected.token_ids.slice(0, 20));
});

test("rows of two models at once give each what it gives alone", async () => {
  const client = startClient();
  for (const name of ["untied", "biases"]) await client.load(name, fixture(name).path);
  const together = ["untied", "biases", "untied", "biases"].map((name) => tokens(client.generate(row(name), NEVER)));
  const expected = (name: string) => fixture(name).expected.token_ids.slice(0, 20);
  const [first, second, third, fourth] = await Promise.all(together);
  expect([first, third]).toEqual([expected("untied"), expected("untied")]);
  expect([second, fourth]).toEqual([expected("biases"), expected("biases")]);
});

test("a row whose reader leaves stops within one step", async () => {
  const client = startClient();
  await client.load("untied", fixture("untied").path);
  for await (const _ of client.generate(row("untied", { tokens_max: 400 }), NEVER)) break;
  const late: FromEngine[] = [];
  spawned[0]?.addEventListener("message", (event) => late.push(event.data));
  await tokens(client.generate(row("untied"), NEVER));
  const ids = late.flatMap((message) => (message.kind === "step" ? message.rows.map(({ id }) => id) : []));
  expect(ids.filter((id) => id === 1).length).toBeLessThanOrEqual(2);
  expect(ids.filter((id) => id === 2).length).toBe(20);
});

test("an aborted row throws the signal's reason", async () => {
  const client = startClient();
  await client.load("untied", fixture("untied").path);
  const controller = new AbortController();
  const reading = tokens(client.generate(row("untied", { tokens_max: 400 }), controller.signal));
  controller.abort(new Error("the client left"));
  expect(await failureOf(reading)).toBe("the client left");
});

test("a dead worker ends its rows with a typed failure and the next call starts a new one", async () => {
  const client = startClient();
  const { path, expected } = fixture("untied");
  await client.load("untied", path);
  const reading = tokens(client.generate(row("untied", { tokens_max: 400 }), NEVER));
  spawned[0]?.terminate();
  const failure = await reading.catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(Failure);
  expect((failure as Failure).kind).toBe("engine");
  await client.load("untied", path);
  expect(await tokens(client.generate(row("untied"), NEVER))).toEqual(expected.token_ids.slice(0, 20));
  expect(spawned.length).toBe(2);
});

test("a library that is not one is told in a sentence, also to who only loads a model", async () => {
  const folder = mkdtempSync(join(FOLDER, "library-"));
  const path = join(folder, "libmlxc.so");
  writeFileSync(path, "not a library");
  const client = startClient({ ...engineParts(folder), library: path });
  const asked = [client.device(), client.load("untied", fixture("untied").path)];
  for (const promise of asked) {
    const failure = await promise.then(String, (error: unknown) => error);
    expect(failure).toBeInstanceOf(Failure);
    expect(failure).toMatchObject({ kind: "unavailable" });
    expect((failure as Failure).message).toStartWith(`Cannot open the MLX library ${path}: `);
  }
});

test("a model that cannot be loaded leaves running rows alone and may be tried again", async () => {
  const client = startClient();
  const { path, expected } = fixture("untied");
  await client.load("untied", path);
  const reading = tokens(client.generate(row("untied"), NEVER));
  const broken = mkdtempSync(join(FOLDER, "broken-"));
  writeFileSync(join(broken, "config.json"), '{"model_type": "telepathy"}');
  const attempt = () => failureOf(client.load("broken", broken));
  expect(await attempt()).toContain("it has no .safetensors file");
  writeFileSync(join(broken, "model.safetensors"), new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]));
  expect(await attempt()).toContain('its family is "telepathy", known: llama');
  expect(await reading).toEqual(expected.token_ids.slice(0, 20));
});

test("a row for a model the engine does not hold fails alone", async () => {
  const client = startClient();
  await client.load("untied", fixture("untied").path);
  const lost = tokens(client.generate({ ...row("untied"), model: "other" }, NEVER));
  expect(await failureOf(lost)).toContain('the engine holds no model "other"');
  expect((await tokens(client.generate(row("untied"), NEVER))).length).toBe(20);
});

describe("the prefix cache on disk", () => {
  const prompt_ids = Array.from({ length: 150 }, (_, index) => (index * 7) % 256);
  const ask = async (client: EngineClient) => {
    await client.load("untied", fixture("untied").path);
    const answer = { token_ids: [] as number[], cached_tokens: 0 };
    for await (const { token_ids, cached_tokens } of client.generate(row("untied", { prompt_ids }), NEVER)) {
      answer.token_ids.push(...token_ids);
      answer.cached_tokens = cached_tokens;
    }
    return answer;
  };

  test("is there after the engine was closed and started again", async () => {
    const parts = engineParts(mkdtempSync(join(FOLDER, "closed-")));
    const first = startClient(parts);
    const cold = await ask(first);
    await first.close();
    const warm = await ask(startClient(parts));
    expect([cold.cached_tokens, warm.cached_tokens]).toEqual([0, 128]);
    expect(warm.token_ids).toEqual(cold.token_ids);
  });

  test("is there when the engine was idle for a second and was killed then", async () => {
    const parts = engineParts(mkdtempSync(join(FOLDER, "killed-")));
    await ask(startClient(parts));
    await Bun.sleep(2000);
    spawned[0]?.terminate();
    expect((await ask(startClient(parts))).cached_tokens).toBe(128);
  });

  test("is another one for another version of the program", async () => {
    const parts = engineParts(mkdtempSync(join(FOLDER, "version-")));
    const first = startClient(parts);
    await ask(first);
    await first.close();
    const newer = { ...parts, blocks: { ...parts.blocks, version: "newer" } };
    expect((await ask(startClient(newer))).cached_tokens).toBe(0);
  });

  test("keeps nothing when it may have no bytes", async () => {
    const folder = mkdtempSync(join(FOLDER, "none-"));
    const first = startClient(engineParts(folder, { kv_disk_bytes_max: 0 }));
    await ask(first);
    await first.close();
    expect(readdirSync(join(folder, "blocks"))).toEqual([]);
  });

  test("needs no folder: what cannot be kept is computed again", async () => {
    const folder = join(mkdtempSync(join(FOLDER, "file-")), "file");
    writeFileSync(folder, "no folder");
    const first = startClient(engineParts(folder));
    const cold = await ask(first);
    await first.close();
    const again = await ask(startClient(engineParts(folder)));
    expect(again).toEqual(cold);
  });
});
