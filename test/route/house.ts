/** A whole server with its store, as `serve` builds it, but for the engine: a scripted backend answers for this machine. */

import { join } from "node:path";
import { buildRouting } from "../../src/app.ts";
import type { GivenProvider, Outlook } from "../../src/core/routing.ts";
import { defaultSettings, type Settings } from "../../src/core/settings.ts";
import { listen } from "../../src/http/listen.ts";
import { createServer } from "../../src/http/server.ts";
import { TUNING, type Tuning } from "../../src/route/remote/upstream.ts";
import { Catalog } from "../../src/schedule/catalog.ts";
import { StoredAudit } from "../../src/store/audit.ts";
import { openStore } from "../../src/store/database.ts";
import { StoredResponses } from "../../src/store/responses.ts";
import { type Script, ScriptedBackend } from "../http/scripted-backend.ts";
import { NO_TOKENS, ScriptedOwner, ScriptedProfiles } from "../http/scripted-owner.ts";

const NO_WAITS: Tuning = { ...TUNING, backoff_ms: 1, retries_max: 0 };
const ANY_QUERY = { model: null, backend: null, status: null, key: null, from_ms: null, to_ms: null };

export interface HouseWishes {
  readonly folder: string;
  readonly tuning?: Partial<Tuning>;
  readonly settings?: Partial<Settings>;
  readonly script?: Script;
  readonly given?: readonly GivenProvider[];
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

export function openHouse(wishes: HouseWishes) {
  const store = openStore(wishes.folder);
  const settings = { ...defaultSettings(2 ** 33), private_hosts: ["127.0.0.1"], ...wishes.settings };
  const backend = new ScriptedBackend(wishes.script);
  const bugs: unknown[] = [];
  const audit = new StoredAudit(store, settings, Date.now, (error) => bugs.push(error));
  const { router, desk, providers, findDefault } = buildRouting({
    store,
    settings,
    config: { data_folder: wishes.folder, providers: wishes.given ?? [] },
    local: backend,
    names: { has: (name) => name === "tiny" },
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
    owner: new ScriptedOwner(),
    profiles: new ScriptedProfiles(),
    responses: new StoredResponses(store, settings, Date.now),
    tokens: NO_TOKENS,
    prefix_cache: { explain: async () => ({ prompt_tokens: 0, matched_tokens: 0, departure: null }) },
    version: "1.2.3",
    requestId: () => `req_${(++count).toString(16).padStart(12, "0")}`,
    now: Date.now,
    unread_ms_max: 60_000,
    waiting_ms: 10_000,
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
    router,
    providers,
    findDefault,
    bugs,
    settings,
    send,
    chat: async (body: object | string, init?: RequestInit) => await send("POST", "/v1/chat/completions", body, init),
    /** Of requests in some dialect, the oldest first. */
    rows: () => [...audit.all(ANY_QUERY)].filter(({ dialect }) => dialect !== "http"),
    allRows: () => [...audit.all(ANY_QUERY)],
    async set(path: string, body: object) {
      const response = await send("POST", `/api/settings/${path}`, body);
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

export type House = ReturnType<typeof openHouse>;

export async function until(fact: () => boolean): Promise<void> {
  for (let waited_ms = 0; waited_ms < 3000; waited_ms += 5) {
    if (fact()) return;
    await Bun.sleep(5);
  }
  throw new Error(`Not within 3 s: ${fact}`);
}
