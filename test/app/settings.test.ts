/**
 * Every setting there is, changed over HTTP in a running server: what can be seen of it before and after, and after a
 * restart.
 */

import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { SETTING_NAMES, SETTINGS, type SettingName, type Settings } from "../../src/core/settings.ts";
import { engineOf } from "../chaos/load.ts";
import { f32Entry, safetensorsBytes } from "../formats/safetensors-bytes.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { strictHub, TOKEN } from "../hub/strict-hub.ts";
import { minilm } from "../models/encoder-files.ts";
import { fixture, prepareFixtures, STORIES } from "../models/fixtures.ts";
import { MODEL as BIG, type Reply, Served } from "../served.ts";

const SMALL = "stories260K";
const OTHER = "model";
const EMBEDDER = "all-MiniLM-L6-v2";
const FOLDER = scratchFolder();
const HOME = join(FOLDER, "home");
const DAY_MS = 86_400_000;
const IS_LINUX = process.platform === "linux";

const hub = strictHub();
const cloud = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: () => Response.json({ id: "x", choices: [{ index: 0, message: { role: "assistant", content: "hi" } }] }),
});

let server: Served;
const base = new Map<SettingName, unknown>();

interface Effect<Value> {
  readonly to: Value;
  /** Other settings without which nothing would be seen, before and after. */
  readonly given?: Partial<Settings>;
  readonly see: () => Promise<unknown>;
  readonly before: unknown;
  readonly after: unknown;
  readonly skip?: boolean;
}

const complete = (model: string, more: object = {}) =>
  server.ask("POST", "/v1/completions", { model, prompt: "Once upon a time", max_tokens: 4, temperature: 0, ...more });
const chat = (model: string, more: object = {}) =>
  server.ask("POST", "/v1/chat/completions", { model, messages: [{ role: "user", content: "Hello" }], ...more });
const status = (reply: Promise<Reply<unknown>>) => reply.then((reply) => reply.status);
const pool = async () => (await server.ask("GET", "/admin/models/status")).body;

async function resident(): Promise<string[]> {
  return (await pool()).loaded_models.map(({ model_id }: { model_id: string }) => model_id).sort();
}

async function unloadAll(): Promise<void> {
  for (const model of await resident()) await server.ask("POST", `/admin/models/unload/${model}`);
}

async function listed(id: string) {
  const { data } = (await server.ask("GET", "/v1/models")).body;
  return data.find((model: { id: string }) => model.id === id);
}

const requests = async () => (await server.ask("GET", "/admin/queue")).body.requests;

async function untilAnswering(count: number): Promise<void> {
  const has_begun = ({ state }: { state: string }) => state === "answering";
  while (!((await requests()).length === count && (await requests()).some(has_begun))) await Bun.sleep(5);
}

/** While `count` long answers of the big model run; they are cancelled then. */
async function whileAnswering<Value>(count: number, see: () => Promise<Value>, tokens = 2000): Promise<Value> {
  const answers = Array.from({ length: count }, () => complete(BIG, { max_tokens: tokens, ignore_eos: true }));
  await untilAnswering(count);
  const seen = await see();
  for (const { request_id } of await requests()) await server.ask("DELETE", `/admin/requests/${request_id}`);
  await Promise.all(answers);
  return seen;
}

const waitsForRow = async () => {
  return (await requests()).some(({ waits_for }: { waits_for: { kind: string } | null }) => waits_for?.kind === "row");
};

/** How many tokens a running answer gets while a long prompt is read. */
async function tokensBeside(): Promise<number> {
  await complete(BIG);
  const running = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: BIG, prompt: "Once", max_tokens: 4000, ignore_eos: true, stream: true }),
  });
  let events = 0;
  const reader = running.body?.getReader();
  await reader?.read();
  const counting = (async () => {
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
      events += Buffer.from(next.value).toString().split("data: ").length - 1;
    }
  })().catch(() => undefined);
  const before = events;
  const prompt = Array.from({ length: 1200 }, (_, at) => 500 + ((at * 37 + Math.floor(performance.now())) % 9000));
  await complete(BIG, { prompt, max_tokens: 1 });
  const seen = events - before;
  await reader?.cancel();
  await counting;
  return seen;
}

let tokens_beside: number | null = null;
/** Less than half of what it got the first time. */
async function hasFewTokensBeside(): Promise<boolean> {
  const found = await tokensBeside();
  tokens_beside ??= found;
  return found < tokens_beside / 2;
}

async function engineIsReplaced(): Promise<boolean> {
  await complete(SMALL);
  const engine = engineOf(server)?.pid ?? 0;
  const answer = complete(SMALL, { max_tokens: 400, ignore_eos: true });
  process.kill(engine, "SIGSTOP");
  for (let waited_ms = 0; waited_ms < 4000 && engineOf(server)?.pid === engine; waited_ms += 50) await Bun.sleep(50);
  const is_replaced = engineOf(server)?.pid !== engine;
  if (!is_replaced) process.kill(engine, "SIGCONT");
  await answer;
  return is_replaced;
}

let exact: string | null = null;
async function isExact(): Promise<boolean> {
  const { body } = await complete(BIG, { prompt: "The capital of France is", logprobs: 3, max_tokens: 8 });
  const found = JSON.stringify(body.choices[0].logprobs);
  exact ??= found;
  return found === exact;
}

async function threadsMore(): Promise<number> {
  await complete(BIG, { max_tokens: 16 });
  const pid = engineOf(server)?.pid ?? 0;
  const comms = readdirSync(`/proc/${pid}/task`).map((task) => readFileSync(`/proc/${pid}/task/${task}/comm`, "utf8"));
  threads_before ??= comms.length;
  return comms.length - threads_before;
}
let threads_before: number | null = null;

/** Whether more than one token came in an event. */
async function drafts(): Promise<boolean> {
  const asked = { prompt: "1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3,", max_tokens: 48, stream: true, ignore_eos: true };
  for (let count = 0; count < 3; count++) {
    const { text } = await complete(BIG, asked);
    if (text.split("data: {").length - 1 < 45) return true;
  }
  return false;
}

async function who(...models: string[]): Promise<string[]> {
  await unloadAll();
  for (const model of models) await complete(model);
  return await resident();
}

const bytesOnDisk = (folder: string): number =>
  !existsSync(folder)
    ? 0
    : readdirSync(folder, { recursive: true }).reduce((sum, file) => {
        const found = statSync(join(folder, String(file)), { throwIfNoEntry: false });
        return sum + (found?.isFile() === true ? found.size : 0);
      }, 0);

async function keepsBlocks(): Promise<boolean> {
  await complete(BIG, { prompt: "A long prompt that fills a block or two. ".repeat(20) });
  await restart();
  return bytesOnDisk(join(HOME, ".bunsen/prefix-cache")) > 100_000;
}

/** The oldest row of the audit becomes what it is told to, and then whether it is still there after `settle`. */
function auditRow(change: string): () => Promise<boolean> {
  let row: string | null = null;
  return async () => {
    using database = new Database(join(HOME, ".bunsen/bunsen.db"));
    if (row === null) {
      for (let count = 0; count < 3; count++) await complete("none-such");
      await Bun.sleep(400); // rows are written four times a second
      row = String(database.query<{ request_id: string }, []>(OLDEST).get()?.request_id);
      // With all before it: only the oldest go.
      database.run(
        `UPDATE audit SET ${change} WHERE sequence <= (SELECT sequence FROM audit WHERE request_id = '${row}')`,
      );
    }
    return (await server.ask("GET", "/admin/audit-logs?limit=500")).text.includes(row);
  };
}
const OLDEST = "SELECT request_id FROM audit WHERE endpoint = 'completions' ORDER BY sequence LIMIT 1";

async function saveProvider(more: object = {}): Promise<number> {
  const provider = { name: "cloud", api_type: "openai", base_url: `http://127.0.0.1:${cloud.port}/v1`, ...more };
  return (await server.ask("POST", "/api/settings/providers", provider)).status;
}

const cloudStatus = async () => {
  await saveProvider();
  return await status(chat("cloud:far"));
};
const FREE_PORT = freePort();
const ALLOWED = { private_hosts: ["127.0.0.1"] };
const multiplies_bytes = IS_LINUX && /\bavx512_vnni\b/.test(readFileSync("/proc/cpuinfo", "utf8"));

/** Whether an answer with so much beside it can be asked for again. */
async function keepsResponse(bytes: number): Promise<boolean> {
  const parameters = { type: "object", description: "x".repeat(bytes), properties: {} };
  const more = { tools: [{ type: "function", name: "odd", parameters, strict: false }], tool_choice: "none" };
  const asked = { model: BIG, input: "Hello", max_output_tokens: 16, ...more };
  const { id } = (await server.ask("POST", "/v1/responses", asked)).body;
  return (await server.ask("GET", `/v1/responses/${id}`)).status === 200;
}

async function leavesBillingOut(): Promise<boolean> {
  const content = "x-anthropic-billing-header: cc_version=2.1.100.7b4; cc_entrypoint=cli; cch=0f00d;\n\nBe brief.";
  const messages = [
    { role: "system", content },
    { role: "user", content: "Hello" },
  ];
  const { usage } = (await chat(BIG, { messages, max_tokens: 1 })).body;
  return usage.prompt_tokens < 30;
}

const EFFECTS: { readonly [Name in SettingName]: Effect<Settings[Name]> } = {
  host: { to: "localhost", see: async () => new URL(server.url).hostname, before: "127.0.0.1", after: "localhost" },
  port: { to: FREE_PORT, see: async () => Number(new URL(server.url).port) === FREE_PORT, before: false, after: true },
  require_api_key: {
    to: "on",
    see: async () => await status(server.ask("GET", "/v1/models")),
    before: 200,
    after: 401,
  },
  other_programs: {
    to: "on",
    see: async () => (await server.ask("GET", "/v1/models")).text.includes("ada/tiny"),
    before: false,
    after: true,
  },
  isolation: {
    to: "process",
    see: async () => {
      await complete(SMALL);
      return engineOf(server) !== null;
    },
    before: false,
    after: true,
  },
  precision: { to: "fast", see: isExact, before: true, after: false, skip: !multiplies_bytes },
  threads: {
    to: 6,
    given: { isolation: "process" },
    see: threadsMore,
    before: 0,
    after: 6 - navigator.hardwareConcurrency,
    skip: !IS_LINUX,
  },
  rows_max: { to: 1, see: async () => await whileAnswering(2, waitsForRow), before: false, after: true },
  queue_max: {
    to: 0,
    given: { rows_max: 1 },
    see: async () => await whileAnswering(1, async () => await status(complete(BIG)), 20),
    before: 200,
    after: 429,
  },
  stall_ms_max: { to: 1000, given: { isolation: "process" }, see: engineIsReplaced, before: false, after: true },
  decode_gap_ms_target: {
    to: 10_000,
    given: { chunk_tokens_max: 8192 },
    see: hasFewTokensBeside,
    before: false,
    after: true,
  },
  chunk_tokens_max: {
    to: 32,
    see: async () => {
      await complete(SMALL);
      const { entries } = (await server.ask("GET", "/admin/ledger")).body;
      return entries.find(({ model_id }: { model_id: string }) => model_id === SMALL).step_bytes > 10 ** 6;
    },
    before: true,
    after: false,
  },
  draft_tokens_max: { to: 8, see: drafts, before: false, after: true },
  kv_bytes_max: {
    to: 4 * 2 ** 20,
    see: async () => (await listed(BIG)).context_length < 1000,
    before: false,
    after: true,
  },
  kv_bits: {
    to: 8,
    see: async () => (await server.ask("GET", `/v1/models/${BIG}`)).body.cache.bytes_per_token,
    before: 46_080,
    after: 12_960,
  },
  kv_disk_bytes_max: { to: 0, see: keepsBlocks, before: true, after: false },
  memory_limit_mode: {
    to: "gb",
    given: { memory_limit_value: 50 },
    see: async () => (await pool()).max_memory_gb === 50,
    before: false,
    after: true,
  },
  memory_limit_value: {
    to: 7,
    given: { memory_limit_mode: "gb" },
    see: async () => (await pool()).max_memory_gb,
    before: 75,
    after: 7,
  },
  max_models: { to: 1, see: async () => (await who(SMALL, OTHER)).length, before: 2, after: 1 },
  eviction_policy: {
    to: "lfu",
    given: { max_models: 2 },
    see: async () => await who(SMALL, SMALL, OTHER, EMBEDDER, BIG),
    before: [BIG, OTHER].sort(),
    after: [BIG, SMALL].sort(),
  },
  ttl_s: {
    to: 1,
    see: async () => {
      await complete(SMALL);
      await Bun.sleep(2200);
      return (await resident()).includes(SMALL);
    },
    before: true,
    after: false,
  },
  contention: {
    to: "fail",
    given: { max_models: 1 },
    see: async () => {
      await unloadAll();
      await complete(SMALL);
      return await status(complete(OTHER));
    },
    before: 200,
    after: 503,
  },
  preload_models: {
    to: [SMALL],
    see: async () => (await pool()).loaded_models.some(({ preloaded }: { preloaded: boolean }) => preloaded),
    before: false,
    after: true,
  },
  adapters: {
    to: [join(FOLDER, "adapters")],
    see: async () => await status(complete(`${BIG}:odd`)),
    before: 404,
    after: 200,
  },
  chat_timeout_s: {
    to: 0.1,
    see: async () => await status(chat(BIG, { max_tokens: 150, ignore_eos: true })),
    before: 200,
    after: 408,
  },
  completions_timeout_s: {
    to: 0.1,
    see: async () => await status(complete(BIG, { max_tokens: 150, ignore_eos: true })),
    before: 200,
    after: 408,
  },
  embeddings_timeout_s: {
    to: 0.001,
    see: async () => await status(server.ask("POST", "/v1/embeddings", { model: EMBEDDER, input: "a ".repeat(200) })),
    before: 200,
    after: 408,
  },
  stream_silence_s: {
    to: 0.1,
    given: { rows_max: 1 },
    see: async () => {
      const running = complete(BIG, { max_tokens: 200, ignore_eos: true });
      await untilAnswering(1);
      const { text } = await complete(BIG, { stream: true });
      await running;
      return /^: waiting position=1 estimated_ms=\w+ for=row\n\n/m.test(text);
    },
    before: false,
    after: true,
  },
  enable_cloud_routing: { to: "off", given: ALLOWED, see: cloudStatus, before: 200, after: 403 },
  default_provider: {
    to: "cloud",
    given: ALLOWED,
    see: async () => {
      await saveProvider();
      return await status(chat("unknown-here"));
    },
    before: 404,
    after: 200,
  },
  volatile_lines: { to: "keep", see: leavesBillingOut, before: true, after: false },
  responses_days: { to: 0, see: async () => await keepsResponse(0), before: true, after: false },
  responses_bytes_max: { to: 2 ** 20, see: async () => await keepsResponse(2 ** 20), before: true, after: false },
  local_only_models: { to: ["*"], given: ALLOWED, see: cloudStatus, before: 200, after: 403 },
  private_hosts: { to: ["127.0.0.1"], see: cloudStatus, before: 403, after: 200 },
  credentials_secret: {
    to: "keychain",
    see: async () => await saveProvider({ api_key: "sk-one" }),
    before: 200,
    after: 503, // there is none where tests run
    skip: !IS_LINUX,
  },
  hf_endpoint: {
    to: hub.url,
    see: async () => {
      await server.ask("PUT", "/api/settings/huggingface", { token: TOKEN });
      return (await server.ask("POST", "/api/settings/huggingface/test")).body.outcome;
    },
    before: "unreachable",
    after: "ok",
  },
  audit_days: { to: 1, see: auditRow(`time_ms = time_ms - ${3 * DAY_MS}`), before: true, after: false },
  audit_bytes_max: { to: 2 ** 20, see: auditRow("bytes = 2000000"), before: true, after: false },
};

let api_key: string;

const start = async () => {
  const models = [BIG, STORIES, fixture("gguf-stories").path, minilm()].flatMap((path) => ["--model", path]);
  const variables = { HF_ENDPOINT: "http://127.0.0.1:9", BUNSEN_PRELOAD_MODELS: "none" };
  return await Served.start(models, { home: HOME, variables });
};

async function restart(): Promise<void> {
  expect(await server.stop()).toBe(0);
  server = await start();
}

const pathOf = (name: SettingName) => {
  const { group } = SETTINGS[name];
  return `/api/settings/${group === "hub" ? "huggingface" : group}`;
};

async function settle(values: Partial<Record<SettingName, unknown>>): Promise<void> {
  const names = SETTING_NAMES.filter((name) => name in values);
  let waits = false;
  for (const path of new Set(names.map(pathOf))) {
    const own = names.filter((name) => pathOf(name) === path);
    const wanted = Object.fromEntries(own.map((name) => [name, values[name]]));
    const reply = await server.ask("PUT", path, wanted, api_key);
    expect([path, reply.status, reply.text]).toEqual([path, 200, expect.any(String)]);
    waits ||= (reply.body.needs_restart ?? []).length > 0;
  }
  if (waits) await restart();
}

async function readAll(): Promise<Map<SettingName, unknown>> {
  const found = new Map<SettingName, unknown>();
  for (const name of SETTING_NAMES)
    found.set(name, (await server.ask("GET", pathOf(name), undefined, api_key)).body[name]);
  return found;
}

beforeAll(async () => {
  prepareFixtures();
  writeAdapter();
  mkdirSync(join(HOME, ".lmstudio/models/ada/tiny"), { recursive: true });
  cpSync(fixture("gguf-stories").path, join(HOME, ".lmstudio/models/ada/tiny/tiny.gguf"));
  server = await start();
  ({ api_key } = (await server.ask("POST", "/api/settings/keys", { name: "owner", admin: true })).body);
  for (const [name, value] of await readAll()) base.set(name, value);
}, 120_000);

afterAll(async () => {
  await server.stop("SIGKILL");
  hub[Symbol.dispose]();
  await cloud.stop(true);
});

describe("changed over HTTP", () => {
  for (const name of SETTING_NAMES) {
    const { to, given = {}, see, before, after, skip = false } = EFFECTS[name];
    test.skipIf(skip)(
      `${name} has its effect`,
      async () => {
        const touched = [name, ...Object.keys(given)] as readonly SettingName[];
        try {
          await settle(given);
          expect<unknown>(await see()).toEqual(before);
          await settle({ [name]: to });
          expect<unknown>(await see()).toEqual(after);
        } finally {
          await settle(Object.fromEntries(touched.map((touch) => [touch, base.get(touch)])));
        }
        expect(await readAll()).toEqual(base);
      },
      120_000,
    );
  }
});

test("every one of them is kept over a restart", async () => {
  const changed = Object.fromEntries(SETTING_NAMES.map((name) => [name, EFFECTS[name].to]));
  await settle({ ...changed, credentials_secret: "file" });
  await restart();
  expect(Object.fromEntries(await readAll())).toEqual({ ...changed, credentials_secret: "file" });
}, 60_000);

function writeAdapter(): void {
  const down = Float32Array.from({ length: 576 }, (_, column) => Math.cos(column));
  const at = "model.layers.3.self_attn.v_proj.lora";
  const header = { [`${at}_a`]: f32Entry(0, 576, 1), [`${at}_b`]: f32Entry(4 * 576, 1, 192) };
  const bytes = safetensorsBytes(header, 4 * (576 + 192));
  const values = Float32Array.of(...down, ...new Float32Array(192).fill(0.5));
  bytes.set(new Uint8Array(values.buffer), bytes.length - 4 * (576 + 192));
  write(join(FOLDER, "adapters/odd/adapters.safetensors"), bytes);
  write(join(FOLDER, "adapters/odd/adapter_config.json"), JSON.stringify({ lora_parameters: { scale: 2 } }));
}

function freePort(): number {
  const found = Bun.serve({ port: 0, fetch: () => new Response("") });
  const { port = 0 } = found;
  void found.stop(true);
  return port;
}
