/** A whole server with its store, as `serve` builds it, but for the engine: a scripted backend answers for this machine. */

import { afterEach } from "bun:test";
import { join } from "node:path";
import { buildRouting, openCredentials } from "../../src/app.ts";
import { NO_WISHES } from "../../src/core/generation.ts";
import type { GivenProvider, Outlook } from "../../src/core/routing.ts";
import { defaultSettings, type Settings } from "../../src/core/settings.ts";
import { listen } from "../../src/http/listen.ts";
import { createServer } from "../../src/http/server.ts";
import { type GivenToken, Huggingface } from "../../src/huggingface.ts";
import { Profiles } from "../../src/profiles.ts";
import { Names } from "../../src/route/names.ts";
import { TUNING, type Tuning } from "../../src/route/remote/upstream.ts";
import { Catalog } from "../../src/schedule/catalog.ts";
import { StoredApiKeys } from "../../src/store/api-keys.ts";
import { StoredAudit } from "../../src/store/audit.ts";
import { openStore } from "../../src/store/database.ts";
import { StoredProfiles } from "../../src/store/profiles.ts";
import { StoredResponses } from "../../src/store/responses.ts";
import { rotate } from "../../src/store/rotation.ts";
import { type Script, ScriptedBackend } from "../http/scripted-backend.ts";
import { NO_TOKENS, ScriptedOwner } from "../http/scripted-owner.ts";

const NO_WAITS: Tuning = { ...TUNING, backoff_ms: 1, retries_max: 0 };
const ANY_QUERY = { model: null, backend: null, status: null, key: null, from_ms: null, to_ms: null };

export interface HouseWishes {
  readonly folder: string;
  readonly tuning?: Partial<Tuning>;
  readonly settings?: Partial<Settings>;
  readonly script?: Script;
  readonly silence_ms?: number;
  readonly providers?: readonly GivenProvider[];
  readonly hub_token?: GivenToken;
}

/** `tiny` is the one model of this machine. */
const outlook = async (): Promise<Outlook> => ({
  resident: false,
  queue_length: 2,
  context_length: 64,
  evicts: ["idle"],
  purpose: "chat",
  bytes_weights: 100,
});

const TINY = new Catalog([{ name: "tiny", path: "tiny", changed_s: 0, bytes: 100, sampling: NO_WISHES }]);

function unreadable(): never {
  throw new Error("There is no file to read");
}

export function openHouse(wishes: HouseWishes) {
  const store = openStore(wishes.folder);
  const settings: { -readonly [Name in keyof Settings]: Settings[Name] } = {
    ...defaultSettings(2 ** 33),
    private_hosts: ["127.0.0.1"],
    ...wishes.settings,
  };
  const backend = new ScriptedBackend(wishes.script);
  const bugs: unknown[] = [];
  const audit = new StoredAudit(store, settings, Date.now, (error) => bugs.push(error));
  const { providers: given = [], hub_token = { token: null, file: join(wishes.folder, "token") } } = wishes;
  const credentials = openCredentials(store, settings, { data_folder: wishes.folder, providers: given });
  const profiles = new StoredProfiles(store, Date.now);
  const spelled = (name: string) => (name === "tiny" ? name : null);
  const nobody = { models: () => [], card: unreadable, record: () => null };
  const names = new Names({ ...nobody, has: (name) => spelled(name) !== null, spelled }, () => profiles.profiles());
  const { router, desk, providers, findDefault } = buildRouting({
    store,
    settings,
    providers: credentials.providers,
    local: backend,
    names,
    outlook,
    tuning: { ...NO_WAITS, ...wishes.tuning },
  });
  let count = 0;
  const app = createServer({
    gateway: router,
    desk,
    audit,
    models: new Catalog([]),
    outlook,
    owner: new ScriptedOwner(null),
    profiles: new Profiles(profiles, TINY, {
      preload: async () => [],
      letGo: () => undefined,
      renew: async () => undefined,
    }),
    hub: new Huggingface(
      settings,
      credentials.hub_token,
      hub_token,
      async (values) => Object.assign(settings, values),
      { folder: join(wishes.folder, "hub"), arrived: () => undefined },
    ),
    keys: new StoredApiKeys(store, Date.now),
    isKeyRequired: () => settings.require_api_key === "on",
    responses: new StoredResponses(store, settings, Date.now),
    tokens: NO_TOKENS,
    prefix_cache: { explain: async () => ({ prompt_tokens: 0, matched_tokens: 0, departure: null }) },
    version: "1.2.3",
    requestId: () => `req_${(++count).toString(16).padStart(12, "0")}`,
    now: Date.now,
    unread_ms_max: 60_000,
    silence_ms: () => wishes.silence_ms ?? 10_000,
    reportBug: (error) => bugs.push(error),
  });
  const listening = listen(app, { host: "127.0.0.1", port: 0 });
  const send = async (method: string, path: string, body?: unknown, init: RequestInit = {}) =>
    await fetch(listening.url + path, {
      method,
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      ...init,
      headers: { "content-type": "application/json", ...init.headers },
    });
  return {
    url: listening.url,
    database: join(wishes.folder, "bunsen.db"),
    store,
    backend,
    audit,
    router,
    providers,
    findDefault,
    bugs,
    settings,
    rotate: async () => await rotate(store, credentials.sealing, [credentials.providers, credentials.hub_token]),
    send,
    chat: async (body: object | string, init?: RequestInit) => await send("POST", "/v1/chat/completions", body, init),
    /** Of requests in some dialect, the oldest first. */
    rows: () => [...audit.all(ANY_QUERY)].filter(({ dialect }) => dialect !== "http"),
    allRows: () => [...audit.all(ANY_QUERY)],
    async set(path: string, body: object) {
      const response = await send("POST", path === "profiles" ? "/api/profiles" : `/api/settings/${path}`, body);
      if (!response.ok) throw new Error(await response.text());
      return (await response.json()) as Record<string, unknown>;
    },
    async close() {
      await listening.stop();
      audit[Symbol.dispose]();
      store[Symbol.dispose]();
    },
  };
}

/** How to close what a test has opened, which is done after it, the last first. */
export function closedAfterEach(): (() => unknown)[] {
  const open: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });
  return open;
}

export type House = ReturnType<typeof openHouse>;

export async function until(fact: () => boolean): Promise<void> {
  for (let waited_ms = 0; waited_ms < 3000; waited_ms += 5) {
    if (fact()) return;
    await Bun.sleep(5);
  }
  throw new Error(`Not within 3 s: ${fact}`);
}
