/** An owner's desk with one model in memory, where every request is granted and noted. */

import type { ApiKey, ApiKeyStore, ApiKeyWords } from "../../src/core/api-keys.ts";
import { Failure } from "../../src/core/failure.ts";
import type { Applied, OwnerDesk } from "../../src/core/owner.ts";
import type { Profile, ProfileDesk, ProfileWords } from "../../src/core/profile.ts";
import type { HeldResponse, ResponseStore } from "../../src/core/responses.ts";
import { defaultSettings, settingsOf } from "../../src/core/settings.ts";
import type { TokenDesk } from "../../src/core/tokens.ts";
import type { Wait } from "../../src/core/waiting.ts";

const MEMORY = { limit_bytes: 1000, taken_bytes: 400, free_bytes: 600, process_bytes: 900 };
const MODEL = {
  model_id: "some/model",
  model_type: "chat",
  state: "ready",
  size_bytes: 400,
  size_gb: 4e-7,
  preloaded: true,
  in_flight: 0,
  uses: 3,
  loaded_at: "2026-01-01T00:00:00.000Z",
  last_used: "2026-01-01T00:00:01.000Z",
  expires_at: null,
  context_length: 512,
} as const;
const APPLIED: Applied = {
  changed: ["max_models"],
  needs_restart: [],
  preloads: [{ model_id: "some/model", status: "failed", reason: "Cannot load it" }],
  stays: [{ model_id: "some/model", reason: "in use" }],
};

const WAIT: Wait = { kind: "row", position: 2, estimated_ms: 1500 };

export class ScriptedOwner implements OwnerDesk {
  /** What was asked for, in order. */
  readonly asked: unknown[][] = [];
  wait: Wait | null;

  constructor(wait: Wait | null = WAIT) {
    this.wait = wait;
  }

  status() {
    const gb = { max_memory_gb: 1e-6, current_memory_gb: 4e-7 };
    return { loaded_models: [MODEL], total_models: 2, memory: MEMORY, ...gb, max_models: 8 };
  }

  async load(model: string) {
    this.asked.push(["load", model]);
    return MODEL;
  }

  async unload(model: string) {
    this.asked.push(["unload", model]);
  }

  async keep(model: string, keep_s: number | null) {
    this.asked.push(["keep", model, keep_s]);
  }

  async remove(model: string) {
    throw new Failure("unsupported", `Cannot delete model "${model}": it was not fetched by this server`);
  }

  async *progress(model: string) {
    this.asked.push(["progress", model]);
    yield { stage: "weights", bytes_done: 1, bytes_total: 2 };
    yield { stage: "ready" };
  }

  ledger() {
    const { model_id } = MODEL;
    const entry = { model_id, weights_bytes: 300, weights_bytes_estimated: 290, is_measured: true };
    return {
      ...MEMORY,
      entries: [{ ...entry, kv_bytes: 90, step_bytes: 10, adapters_bytes: 0, adapters_bytes_idle: 0 }],
    };
  }

  queue() {
    const came_at = "2026-01-01T00:00:00.000Z";
    return {
      waiting: 1,
      requests: [{ request_id: "req_0", model: "some/model", state: "waiting", waits_for: WAIT, came_at } as const],
    };
  }

  waitOf(): Wait | null {
    return this.wait;
  }

  cancel(request_id: string) {
    this.asked.push(["cancel", request_id]);
  }

  settings(group: "server" | "engine" | "pool" | "timeouts") {
    const values = defaultSettings(2 ** 34);
    return Object.fromEntries(settingsOf(group).map((name) => [name, values[name]]));
  }

  async change(values: object) {
    this.asked.push(["change", values]);
    return APPLIED;
  }

  async reload() {
    this.asked.push(["reload"]);
    return APPLIED;
  }
}

const PROFILE: Profile = {
  id: 1,
  name: "terse",
  model: "some/model",
  adapter: null,
  system_prompt: "Be brief",
  temperature: 0.5,
  top_p: null,
  max_tokens: 8,
  template_options: { enable_thinking: false },
  context_length: null,
  kv_bits: 8,
  auto_load: true,
};

/** One profile, whatever is asked. */
const API_KEY: ApiKey = { id: 1, name: "laptop", admin: false, privacy: null, created_ms: 1_763_000_000_000 };

export class ScriptedKeys implements ApiKeyStore {
  keys() {
    return [API_KEY];
  }

  add(words: ApiKeyWords) {
    return { key: { ...API_KEY, ...words }, secret: "bsk_secret" };
  }

  change(_: string, words: ApiKeyWords) {
    return { ...API_KEY, ...words };
  }

  remove() {
    return API_KEY;
  }

  find() {
    return null;
  }
}

export class ScriptedProfiles implements ProfileDesk {
  profiles() {
    return [PROFILE];
  }

  find() {
    return PROFILE;
  }

  async add(words: ProfileWords) {
    return { profile: { ...words, id: 2 }, preloads: APPLIED.preloads };
  }

  async change(_: string, words: ProfileWords) {
    return { profile: { ...words, id: 1 }, preloads: [] };
  }

  async duplicate() {
    return { profile: { ...PROFILE, id: 2 }, preloads: [] };
  }

  async remove() {
    return PROFILE;
  }
}

/** Keeps answers as long as it lives. */
export class ScriptedShelf implements ResponseStore {
  readonly is_open = true;
  readonly #kept = new Map<string, HeldResponse>();
  readonly #events = new Map<string, readonly string[]>();

  save(response: HeldResponse): void {
    this.#kept.set(response.id, response);
  }

  keepEvents(id: string, events: readonly string[]): void {
    this.#events.set(id, events);
  }

  eventsOf(id: string): readonly string[] | null {
    return this.#events.get(id) ?? null;
  }

  find(id: string): HeldResponse | null {
    return this.#kept.get(id) ?? null;
  }

  talk(id: string): readonly HeldResponse[] {
    const found = this.find(id);
    if (found === null) return [];
    return [...(found.previous_id === null ? [] : this.talk(found.previous_id)), found];
  }

  remove(id: string): boolean {
    return this.#kept.delete(id);
  }
}

/** Of a server without a tokenizer. */
export const NO_TOKENS: TokenDesk = {
  tokenize: async () => [],
  tokenizeChat: async () => [],
  detokenize: async () => "",
  applyTemplate: async () => "",
};
