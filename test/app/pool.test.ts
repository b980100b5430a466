/** The pool of a running server: which model goes, what stays, what each setting does, and what a restart keeps. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { f32Entry, safetensorsBytes } from "../formats/safetensors-bytes.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { fixture, prepareFixtures, STORIES } from "../models/fixtures.ts";
import { MODEL as BIG, Served } from "../served.ts";

const HOME = scratchFolder();
const OPEN = { memory_limit_mode: "gb", memory_limit_value: 4, max_models: 8, eviction_policy: "lru", ttl_s: 0 };
const DEFAULTS = { ...OPEN, contention: "wait", preload_models: [] };

/** As their folders and files are called. */
let small: string;
let gguf: string;
let server: Served;

async function start(...words: string[]): Promise<Served> {
  const models = [BIG, STORIES, fixture("gguf-stories").path, join(HOME, "damaged")].flatMap((path) => [
    "--model",
    path,
  ]);
  return await Served.start([...models, "--adapters", join(HOME, "adapters"), ...words], {
    home: HOME,
    variables: { BUNSEN_PRELOAD_MODELS: BIG },
  });
}

/** What the answers of the routes have, each its own of these. */
interface Body {
  readonly loaded_models: readonly { readonly model_id: string }[];
  readonly requests: readonly { readonly request_id: string; readonly state: string }[];
  readonly entries: readonly {
    readonly weights_bytes: number;
    readonly weights_bytes_estimated: number;
    readonly is_measured: boolean;
    readonly adapters_bytes: number;
    readonly adapters_bytes_idle: number;
  }[];
  readonly taken_bytes: number;
  readonly detail: string;
  readonly error: { readonly code: string; readonly param: string };
  readonly status: string;
  readonly changed: readonly string[];
  readonly usage: { readonly completion_tokens: number };
  readonly stays: readonly object[];
  readonly preloads: readonly object[];
}

const ask = (method: string, path: string, body?: object) => server.ask<Body>(method, path, body);
const settle = (settings: object) => ask("PUT", "/api/settings/pool", settings);
const complete = (model: string, more: object = {}) =>
  ask("POST", "/v1/completions", { model, prompt: "Once upon a time", max_tokens: 4, temperature: 0, ...more });

async function engineSettings(): Promise<object & { readonly queue_max?: number }> {
  return (await ask("GET", "/api/settings/engine")).body;
}

async function resident(): Promise<string[]> {
  const { body } = await ask("GET", "/admin/models/status");
  return body.loaded_models.map(({ model_id }) => model_id).sort();
}

/** Long enough to be running while something else is asked. */
function runLong(model: string) {
  return complete(model, { max_tokens: 300 });
}

async function untilRunning(count: number): Promise<void> {
  for (;;) {
    const { body } = await ask("GET", "/admin/queue");
    const running = body.requests.filter(({ state }) => state === "answering");
    if (running.length >= count) return;
    await Bun.sleep(5);
  }
}

beforeAll(async () => {
  prepareFixtures();
  gguf = fixture("gguf-stories").path.replace(/^.*\/|\.gguf$/g, "");
  small = STORIES.replace(/^.*\//, "");
  const damaged = join(HOME, "damaged");
  cpSync(STORIES, damaged, { recursive: true });
  const config = JSON.parse(readFileSync(join(damaged, "config.json"), "utf8"));
  writeFileSync(join(damaged, "config.json"), JSON.stringify({ ...config, intermediate_size: 160 }));
  server = await start();
}, 120_000);

beforeEach(async () => {
  await settle(DEFAULTS);
  for (const model of await resident()) await ask("POST", `/admin/models/unload/${encodeURIComponent(model)}`);
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

test("adapters that nobody uses any more make room for another model, those in use stay", async () => {
  const rank = 20_000; // 61 MB
  const at = "model.layers.3.self_attn.v_proj.lora";
  const header = { [`${at}_a`]: f32Entry(0, 576, rank), [`${at}_b`]: f32Entry(4 * 576 * rank, rank, 192) };
  write(join(HOME, "adapters/large/adapters.safetensors"), safetensorsBytes(header, 4 * (576 + 192) * rank));
  write(join(HOME, "adapters/large/adapter_config.json"), JSON.stringify({ lora_parameters: { scale: 2 } }));
  const adaptersOf = async () => {
    const { body } = await ask("GET", "/admin/ledger");
    const { adapters_bytes, adapters_bytes_idle } = body.entries[0] ?? {};
    return { taken_bytes: body.taken_bytes, adapters_bytes, adapters_bytes_idle };
  };
  await settle({ preload_models: [BIG], contention: "evict_idle" });
  const long = complete(BIG, { adapter: "large", max_tokens: 300, ignore_eos: true });
  await untilRunning(1);
  while ((await adaptersOf()).adapters_bytes === 0) await Bun.sleep(5);
  const { taken_bytes, ...busy } = await adaptersOf();
  expect(busy).toEqual({ adapters_bytes: 4 * (576 + 192) * rank, adapters_bytes_idle: 0 });
  await settle({ memory_limit_value: (taken_bytes + 1000) / 1e9 });
  expect((await complete(small)).status).toBe(503);
  expect((await long).status).toBe(200);
  expect(await adaptersOf()).toMatchObject({ adapters_bytes_idle: busy.adapters_bytes });
  expect((await complete(small)).status).toBe(200);
  expect(await resident()).toEqual([BIG, small].sort());
  expect(await adaptersOf()).toMatchObject({ adapters_bytes: 0, adapters_bytes_idle: 0 });
}, 30_000);

describe("with room for two of three models", () => {
  test("lru: the one that was used longest ago goes", async () => {
    await settle({ max_models: 2, eviction_policy: "lru" });
    for (const model of [BIG, small, BIG]) expect((await complete(model)).status).toBe(200);
    expect((await complete(gguf)).status).toBe(200);
    expect(await resident()).toEqual([BIG, gguf].sort());
  }, 30_000);

  test("lfu: the one that was used least often goes", async () => {
    await settle({ max_models: 2, eviction_policy: "lfu" });
    for (const model of [small, small, BIG]) await complete(model);
    await complete(gguf);
    expect(await resident()).toEqual([small, gguf].sort());
  }, 30_000);

  test("ttl: none goes before its time", async () => {
    await settle({ max_models: 2, eviction_policy: "ttl", ttl_s: 60, contention: "evict_idle" });
    for (const model of [small, BIG]) await complete(model);
    const refused = await complete(gguf);
    expect(refused.status).toBe(503);
    expect(refused.body.error.code).toBe("insufficient_memory");
    expect(await resident()).toEqual([BIG, small].sort());
  }, 30_000);

  test("a preloaded one stays, whatever the policy", async () => {
    await settle({ max_models: 2, preload_models: [BIG] });
    await complete(small);
    await complete(gguf);
    expect(await resident()).toEqual([BIG, gguf].sort());
  }, 30_000);

  test("one in use stays, and who needs its place waits for it or fails, by contention", async () => {
    await settle({ max_models: 1, contention: "evict_idle" });
    const first = runLong(BIG);
    await untilRunning(1);
    const refused = await complete(small);
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).not.toBeNull();
    await settle({ contention: "wait" });
    const second = complete(small);
    expect((await first).status).toBe(200);
    expect((await second).status).toBe(200);
    expect(await resident()).toEqual([small]);
    await settle({ contention: "fail" });
    expect((await complete(BIG)).status).toBe(503);
    expect(await resident()).toEqual([small]);
  }, 60_000);
});

test("by bytes too: a model that does not fit is refused with what is missing, and a lower limit evicts", async () => {
  await settle({ memory_limit_value: 1, contention: "evict_idle" });
  await complete(BIG);
  expect(await resident()).toEqual([BIG]);
  const lowered = await settle({ memory_limit_value: 0.05 });
  expect(lowered.body).toMatchObject({ memory_limit_value: 0.05, changed: ["memory_limit_value"], stays: [] });
  expect((await ask("GET", "/api/settings/pool/status")).body).toMatchObject({
    max_memory_gb: 0.05,
    loaded_models: [],
  });
  const refused = await complete(BIG);
  expect(refused.status).toBe(503);
  expect(refused.body.detail).toMatch(
    /^Cannot load "SmolLM2.*: it needs .* GB, 0\.050 GB of 0\.050 GB can be free, \d+ bytes/,
  );
  expect((await complete(small)).status).toBe(200);
}, 60_000);

test("a lower limit leaves what is preloaded, and says so", async () => {
  await settle({ preload_models: [BIG] });
  const lowered = await settle({ memory_limit_value: 0.05 });
  expect(lowered.body.stays).toEqual([{ model_id: BIG, reason: "preloaded" }]);
  expect(await resident()).toEqual([BIG]);
}, 30_000);

test("ttl_s: an idle model is unloaded, a preloaded one is not", async () => {
  await settle({ preload_models: [BIG], ttl_s: 1 });
  await complete(small);
  expect(await resident()).toEqual([BIG, small].sort());
  await Bun.sleep(2500);
  expect(await resident()).toEqual([BIG]);
}, 30_000);

test("ten requests for a cold model cause one load, and all are answered", async () => {
  const answers = await Promise.all(Array.from({ length: 10 }, () => complete(small)));
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
  const { body } = await ask("GET", "/admin/models/status");
  expect(body.loaded_models).toMatchObject([{ model_id: small, uses: 10, in_flight: 0 }]);
}, 30_000);

test("a model that was unloaded answers by a grammar again", async () => {
  const schema = {
    type: "object",
    properties: { a: { type: "boolean" } },
    required: ["a"],
    additionalProperties: false,
  };
  const response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  const asked = { model: BIG, messages: [{ role: "user", content: "Yes or no?" }], response_format };
  expect((await ask("POST", "/v1/chat/completions", asked)).status).toBe(200);
  await ask("POST", `/admin/models/unload/${BIG}`);
  expect((await ask("POST", "/v1/chat/completions", asked)).status).toBe(200);
}, 60_000);

describe("a damaged model", () => {
  test("is refused with 500 and the tensor's name, for all who asked, and the pool is as before", async () => {
    await complete(small);
    const before = (await ask("GET", "/admin/ledger")).body;
    const loads = await Promise.all([1, 2, 3].map(() => ask("POST", "/admin/models/load/damaged")));
    for (const { status, body } of loads) {
      expect(status).toBe(500);
      expect(body.detail).toContain('tensor "model.layers.0.mlp.');
    }
    const after = (await ask("GET", "/admin/ledger")).body;
    expect(after.entries).toEqual(before.entries);
    expect((await complete(small)).status).toBe(200);
    const told = await fetch(`${server.url}/admin/models/damaged/loading-progress`);
    expect(await told.text()).toContain('"stage":"error"');
  }, 30_000);
});

describe("the owner", () => {
  test("loads and unloads by hand", async () => {
    const loaded = await ask("POST", `/admin/models/load/${small}`);
    expect(loaded).toMatchObject({ status: 200, body: { status: "loaded", model_id: small, preloaded: true } });
    const unloaded = await ask("POST", `/v1/admin/models/unload/${small}`);
    expect(unloaded.body).toMatchObject({ status: "unloaded", model_id: small });
    const again = await ask("POST", `/admin/models/unload/${small}`);
    expect(again.status).toBe(404);
    expect(again.body.detail).toContain("Model not loaded");
    expect((await ask("POST", "/admin/models/load/org/none")).status).toBe(404);
  });

  test("unloads only when the running answer has ended", async () => {
    const running = runLong(BIG);
    await untilRunning(1);
    const unloaded = await ask("POST", `/admin/models/unload/${BIG}`);
    expect(unloaded.status).toBe(200);
    expect((await running).body.usage.completion_tokens).toBe(300);
    expect(await resident()).toEqual([]);
  }, 60_000);

  test("follows a load from its beginning, also late", async () => {
    await complete(small);
    const told = await fetch(`${server.url}/admin/models/${small}/loading-progress`);
    const stages = (await told.text()).match(/"stage":"(\w+)"/g);
    expect(stages).toEqual(['"stage":"weights"', '"stage":"tokenizer"', '"stage":"ready"']);
  });

  test("cancels a request", async () => {
    const running = runLong(BIG);
    await untilRunning(1);
    const { body } = await ask("GET", "/admin/queue");
    expect(body.requests).toMatchObject([{ model: BIG, state: "answering" }]);
    const id = body.requests[0]?.request_id ?? "none";
    expect((await ask("DELETE", `/admin/requests/${id}`)).body).toMatchObject({ status: "cancelled", request_id: id });
    expect((await running).status).toBe(409);
    expect((await ask("DELETE", `/admin/requests/${id}`)).status).toBe(404);
  }, 30_000);

  test("learns what the estimate was worth", async () => {
    await complete(small);
    const { body } = await ask("GET", "/admin/ledger");
    const [entry] = body.entries;
    expect(entry?.is_measured).toBe(true);
    expect(entry?.weights_bytes_estimated).toBe(entry?.weights_bytes ?? 0);
  });
});

describe("settings", () => {
  test("of no use are refused by field and bounds, and nothing is changed", async () => {
    const wrong = [{ max_models: 0 }, { eviction_policy: "mru" }, { max_models: 3, colour: 1 }, { ttl_s: "60" }];
    for (const settings of wrong) {
      const refused = await settle(settings);
      expect(refused.status).toBe(400);
      expect(refused.body.error.param).toBe(Object.keys(settings).at(-1) ?? "");
    }
    expect((await settle({ max_models: 0 })).body.detail).toContain("from 1 to 1000");
    expect((await ask("GET", "/api/settings/pool")).body).toMatchObject(DEFAULTS);
  });

  test("a preload list says what became of each model", async () => {
    await complete(small);
    const { body } = await settle({ preload_models: [BIG, small, "org/none"] });
    expect(body.preloads).toMatchObject([
      { model_id: BIG, status: "loaded" },
      { model_id: small, status: "already_loaded" },
      { model_id: "org/none", status: "failed" },
    ]);
    await complete(small);
    await settle({ preload_models: [], max_models: 1 });
    expect(await resident()).toEqual([small]);
  }, 30_000);

  test.each(["chat", "completions"])(
    "the timeout of %s ends an answer with 408, in a stream with an event",
    async (kind) => {
      const change = (seconds: number) => ask("PUT", "/api/settings/timeouts", { [`${kind}_timeout_s`]: seconds });
      const path = kind === "chat" ? "/v1/chat/completions" : "/v1/completions";
      const prompt =
        kind === "chat" ? { messages: [{ role: "user", content: "Tell a long story" }] } : { prompt: "Once" };
      await complete(BIG);
      await change(0.4);
      const asked = { model: BIG, max_tokens: 2000, ...prompt };
      expect((await ask("POST", path, asked)).status).toBe(408);
      const stream = await fetch(server.url + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...asked, stream: true }),
      });
      expect(await stream.text()).toContain('"code":"timeout"');
      expect((await ask("GET", "/admin/queue")).body).toMatchObject({ waiting: 0, requests: [] });
      await change(kind === "chat" ? 900 : 600);
      expect((await complete(BIG)).status).toBe(200);
    },
    30_000,
  );

  test("of the engine act from the next request on, and end no answer", async () => {
    const running = runLong(BIG);
    await untilRunning(1);
    const { body } = await ask("PUT", "/api/settings/engine", { kv_bytes_max: 4 * 2 ** 20 });
    expect(body).toMatchObject({ kv_bytes_max: 4 * 2 ** 20, changed: ["kv_bytes_max"], needs_restart: [] });
    expect((await running).body.usage.completion_tokens).toBe(300);
    const cut = await complete(BIG, { max_tokens: 100 });
    expect(cut.body.usage.completion_tokens).toBeLessThan(64);
    await ask("PUT", "/api/settings/engine", { kv_bytes_max: 2 ** 30 });
    expect((await complete(BIG, { max_tokens: 100 })).body.usage.completion_tokens).toBe(100);
  }, 60_000);

  test("of the file are read anew when it changes, by route and by signal; what waits for a start is named", async () => {
    const file = join(HOME, ".bunsen/bunsen.toml");
    writeFileSync(file, "port = 1234\nqueue_max = 3\n");
    const { body } = await ask("POST", "/admin/reload-config");
    expect(body).toMatchObject({ changed: ["queue_max"], needs_restart: [] });
    writeFileSync(file, 'host = "::1"\nqueue_max = 5\n');
    process.kill(server.pid, "SIGHUP");
    while ((await engineSettings()).queue_max !== 5) await Bun.sleep(10);
    writeFileSync(file, "queue_max = many\n");
    const refused = await ask("POST", "/admin/reload-config");
    expect(refused.status).toBe(400);
    expect(await engineSettings()).toMatchObject({ queue_max: 5 });
    rmSync(file);
    expect((await ask("POST", "/admin/reload-config")).body).toMatchObject({ needs_restart: ["host"] });
  }, 30_000);

  test("are kept over a restart, and named with where they came from", async () => {
    await settle({ max_models: 3, ttl_s: 77 });
    expect(await server.stop()).toBe(0);
    server = await start("--ttl-s", "5");
    const { body } = await ask("GET", "/api/settings/pool");
    expect(body).toMatchObject({ max_models: 3, ttl_s: 77 });
  }, 60_000);
});

describe("an explanation", () => {
  interface Explained {
    readonly would_load: string | null;
    readonly would_evict: readonly string[];
    readonly queue_length: number;
    readonly context_length: number | null;
  }
  const explain = async (model: string) =>
    (await ask("POST", "/admin/route/explain", { model })).body as unknown as Explained;

  test("tells what would be loaded and evicted, and loads nothing", async () => {
    await settle({ max_models: 2 });
    for (const model of [BIG, small]) await complete(model);
    expect(await explain(BIG)).toMatchObject({ would_load: null, would_evict: [] });
    expect(await explain(gguf)).toMatchObject({ would_load: gguf, would_evict: [BIG] });
    expect(await resident()).toEqual([BIG, small].sort());
    await complete(gguf);
    expect(await resident()).toEqual([gguf, small].sort());
  }, 30_000);

  test("tells the context before a load that is admitted after it", async () => {
    for (const kv_bytes_max of [4 * 2 ** 20, 2 ** 30]) {
      await ask("PUT", "/api/settings/engine", { kv_bytes_max });
      for (const model of [BIG, small, gguf]) {
        const { context_length } = await explain(model);
        await complete(model);
        expect((await explain(model)).context_length).toBe(context_length);
        await ask("POST", `/admin/models/unload/${model}`);
      }
    }
  }, 60_000);

  test("tells that there is no way into memory", async () => {
    await settle({ memory_limit_value: 0.05 });
    expect(await explain(BIG)).toMatchObject({ would_load: BIG, would_evict: [], context_length: null });
  });

  test("a rule for a cold model holds until it is loaded", async () => {
    const when = { cold: true };
    const words = { model_pattern: BIG, pattern_type: "exact", target: "local", target_model: small, when };
    const elsewhere = await ask("POST", "/api/settings/rules", words);
    const id = (elsewhere.body as unknown as { readonly id: number }).id;
    expect((await explain(BIG)).would_load).toBe(small);
    await ask("PUT", `/api/settings/rules/${id}`, { ...words, when: { cold: true, context_too_long: true } });
    expect((await explain(BIG)).would_load).toBe(BIG);
    await ask("DELETE", `/api/settings/rules/${id}`);
  });
});

test("the list, the check and its text have one number for what a request may have", async () => {
  interface Listed {
    readonly data: readonly { readonly id: string; readonly loaded: boolean; readonly context_length: number | null }[];
  }
  const listed = async (id: string) =>
    ((await ask("GET", "/v1/models")).body as unknown as Listed).data.find((model) => model.id === id);
  await ask("PUT", "/api/settings/engine", { kv_bytes_max: 4 * 2 ** 20 });
  const cold = await listed(BIG);
  expect(cold).toMatchObject({ loaded: false, capabilities: ["chat", "completions"] });
  const refused = await complete(BIG, { prompt: "word ".repeat(400) });
  expect(refused.body.detail).toContain(`"${BIG}" takes ${cold?.context_length} with the answer`);
  expect(await listed(BIG)).toEqual({ ...cold, loaded: true } as never);
  expect(await listed("damaged")).toMatchObject({ loaded: false });
  await ask("PUT", "/api/settings/engine", { kv_bytes_max: 2 ** 30 });
  expect((await listed(BIG))?.context_length).toBeGreaterThan(cold?.context_length ?? 0);
}, 30_000);
