/**
 * Everything the owner may set: one table, from which the file, the variables, the options and the routes derive.
 * Knows neither where a value was said nor what it does.
 */

import type { SettingForm } from "./setting-forms.ts";

export interface ServerSettings {
  readonly host: string;
  readonly port: number;
  /** Whether models that LM Studio, Ollama and llama.cpp keep on this machine are served too. */
  readonly other_programs: "on" | "off";
}

/** Of each number that is kept of a token: a float, or its place within an affine group of 32. */
export const KV_BITS = [32, 8, 4] as const;
export type KvBits = (typeof KV_BITS)[number];

export interface EngineSettings {
  /** Where the engine lives: in a thread of the server, or in a process that may die without it. */
  readonly isolation: "worker" | "process";
  /** Whether products with 4- and 8-bit weights keep float32's accuracy, or round activations to 8 bits. */
  readonly precision: "exact" | "fast";
  /** That compute; 0: as many as the machine has cores. */
  readonly threads: number;
  /** Rows that step together; the others wait. */
  readonly rows_max: number;
  /** Requests that wait, of all models together; beyond, they are refused. */
  readonly queue_max: number;
  /** An engine that shows no progress for so long, though it has work, is started again. */
  readonly stall_ms_max: number;
  /** How long a step may take while rows decode: prompts get what that leaves. */
  readonly decode_gap_ms_target: number;
  /** Prompt tokens in a step while no row decodes. */
  readonly chunk_tokens_max: number;
  /** Tokens that are guessed from a row's own text and verified in one step; 0: none. */
  readonly draft_tokens_max: number;
  /** Keys and values of all rows and of the prefix cache, for each model. */
  readonly kv_bytes_max: number;
  /** In which keys and values are kept, unless a profile of the model says otherwise. */
  readonly kv_bits: KvBits;
  /** The prefix cache on disk, of all models together; 0: none. */
  readonly kv_disk_bytes_max: number;
}

export interface PoolSettings {
  readonly memory_limit_mode: "percent" | "gb";
  /** Of the machine's memory, or in 10^9 bytes. */
  readonly memory_limit_value: number;
  readonly max_models: number;
  readonly eviction_policy: "lru" | "lfu" | "ttl";
  /** A model nobody asked for so long is unloaded; 0: none is. */
  readonly ttl_s: number;
  /** What a load does that does not fit: wait for room, fail at once, or fail unless idle models make room. */
  readonly contention: "wait" | "fail" | "evict_idle";
  /** Loaded at the start, and never evicted. */
  readonly preload_models: readonly string[];
  /** Folders that are LoRA adapters or hold some; read anew at each request that names one. */
  readonly adapters: readonly string[];
}

export interface TimeoutSettings {
  readonly chat_timeout_s: number;
  readonly completions_timeout_s: number;
  /** Of what is read and not answered: vectors and scores. */
  readonly embeddings_timeout_s: number;
  /** A stream that has brought nothing for so long brings a comment. */
  readonly stream_silence_s: number;
  readonly require_api_key: "on" | "off";
}

export interface RouteSettings {
  /** Off: nothing leaves this machine. */
  readonly enable_cloud_routing: "on" | "off";
  /** Takes what no rule names and this machine lacks; "none": nobody does. */
  readonly default_provider: string;
  /** Hosts that may be in a private network though their provider is not on this machine. */
  readonly private_hosts: readonly string[];
  /** Globs over the names of models for which nothing leaves this machine. */
  readonly local_only_models: readonly string[];
  readonly credentials_secret: "file" | "keychain";
}

export interface AuditSettings {
  readonly audit_days: number;
  readonly audit_bytes_max: number;
}

export interface HubSettings {
  /** Where models are published: https://huggingface.co, or a mirror of it. */
  readonly hf_endpoint: string;
}

/** `times`: also the minutes and seconds of the present time. */
export type VolatileLines = "keep" | "billing" | "times";

export interface PromptSettings {
  /** What is taken out of system prompts because agents write it anew into each request. */
  readonly volatile_lines: VolatileLines;
}

export interface ResponseSettings {
  /** An answer that was kept so long, and that nobody went on from, goes; 0: none is kept. */
  readonly responses_days: number;
  readonly responses_bytes_max: number;
}

export interface Settings
  extends ServerSettings,
    EngineSettings,
    PoolSettings,
    TimeoutSettings,
    RouteSettings,
    HubSettings,
    AuditSettings,
    PromptSettings,
    ResponseSettings {}

export type SettingName = keyof Settings;
export type SettingGroup =
  | "server"
  | "engine"
  | "pool"
  | "timeouts"
  | "routing"
  | "audit"
  | "hub"
  | "prompts"
  | "responses";

export interface Setting<Value> {
  readonly group: SettingGroup;
  readonly form: SettingForm;
  /** `memory_bytes`: of the machine. */
  readonly otherwise: (memory_bytes: number) => Value;
  readonly help: string;
}

/** Of callers' predictions, in one step of all rows: their logits are some MB. */
export const PREDICTED_TOKENS_MAX = 8;

// An eighth of the memory for each model's keys and values lets five models share what the others leave.
const KV_SHARE_OF_MEMORY = 1 / 8;

export const SETTINGS: { readonly [Name in SettingName]: Setting<Settings[Name]> } = {
  host: {
    group: "server",
    form: { kind: "text" },
    otherwise: () => "127.0.0.1",
    help: "the address to listen on",
  },
  port: {
    group: "server",
    form: { kind: "count", least: 0, most: 65_535 },
    otherwise: () => 10_240,
    help: "the port to listen on; 0 for any free one",
  },
  require_api_key: {
    group: "server",
    form: { kind: "choice", of: ["on", "off"] },
    otherwise: () => "off", // whoever is at this machine may do more than ask a model
    help: "on: callers of this machine need an API key too, as those of other machines always do",
  },
  other_programs: {
    group: "server",
    form: { kind: "choice", of: ["on", "off"] },
    otherwise: () => "off", // they are another program's, and may go at any time
    help: "on: also serves the models that LM Studio, Ollama and llama.cpp keep on this machine",
  },
  isolation: {
    group: "engine",
    form: { kind: "choice", of: ["worker", "process"] },
    otherwise: () => "worker",
    help: "where models run: in a thread, or in a process that may crash without the server",
  },
  precision: {
    group: "engine",
    form: { kind: "choice", of: ["exact", "fast"] },
    otherwise: () => "exact",
    help: "fast rounds what is multiplied with 4- and 8-bit weights to 8 bits, as most servers do (x86 with VNNI)",
  },
  threads: {
    group: "engine",
    form: { kind: "count", least: 0, most: 1024 }, // above, no machine has the cores
    otherwise: () => 0,
    help: "threads that compute on the processor; 0 for as many as it has cores",
  },
  rows_max: {
    group: "engine",
    form: { kind: "count", least: 1, most: 64 }, // as many as may be answered at once
    otherwise: () => 16, // keeps two cores busy
    help: "requests of a model that are answered in one step; the others wait",
  },
  queue_max: {
    group: "engine",
    form: { kind: "count", least: 0, most: 100_000 }, // above, whoever comes last waits for hours
    otherwise: () => 256,
    help: "requests that may wait; others are told to come again",
  },
  stall_ms_max: {
    group: "engine",
    form: { kind: "count", least: 1000, most: 3_600_000 }, // below, a start on a busy machine is taken for a stall
    otherwise: () => 60_000,
    help: "an engine without progress for so long is started again",
  },
  decode_gap_ms_target: {
    group: "engine",
    form: { kind: "count", least: 1, most: 10_000 }, // above, a stream seems to have ended
    otherwise: () => 80, // a reader does not see a gap of a tenth of a second, and a step may take longer than foreseen
    help: "how long a new prompt may hold up running answers",
  },
  chunk_tokens_max: {
    group: "engine",
    // A block; above, a step takes seconds, and who left is noticed no earlier.
    form: { kind: "count", least: 32, most: 8192 },
    otherwise: () => 512,
    help: "tokens of prompts in one step while no answer runs",
  },
  draft_tokens_max: {
    group: "engine",
    form: { kind: "count", least: 0, most: 8 },
    otherwise: () => 0,
    help: "tokens guessed from an answer's own text and verified in one step; 0 for none",
  },
  kv_bytes_max: {
    group: "engine",
    form: { kind: "bytes", least: 2 ** 20, most: 2 ** 40 }, // below, no model has a block; above, no machine has it
    otherwise: (memory_bytes) => Math.floor(memory_bytes * KV_SHARE_OF_MEMORY),
    help: "memory for what was read and answered, of each model",
  },
  kv_bits: {
    group: "engine",
    form: { kind: "number_of", of: KV_BITS },
    otherwise: () => 32, // exact
    help: "bits of each number kept of what was read and answered: 32 is exact, 8 and 4 take less memory",
  },
  kv_disk_bytes_max: {
    group: "engine",
    form: { kind: "bytes", least: 0, most: 2 ** 50 },
    otherwise: () => 4 * 2 ** 30,
    help: "disk for what was read before, of all models, kept over restarts; 0 for none",
  },
  memory_limit_mode: {
    group: "pool",
    form: { kind: "choice", of: ["percent", "gb"] },
    otherwise: () => "percent",
    help: "whether memory_limit_value is percent of the machine's memory, or GB (10^9 bytes)",
  },
  memory_limit_value: {
    group: "pool",
    form: { kind: "number", least: 0.001, most: 100_000 },
    otherwise: () => 75, // the rest is the system's, the browser's and the server's own
    help: "memory that all models together may take",
  },
  max_models: {
    group: "pool",
    form: { kind: "count", least: 1, most: 1000 },
    otherwise: () => 8,
    help: "models that are in memory at once",
  },
  eviction_policy: {
    group: "pool",
    form: { kind: "choice", of: ["lru", "lfu", "ttl"] },
    otherwise: () => "lru",
    help: "which idle model makes room: least recently used, least often used, or only one idle for ttl_s",
  },
  ttl_s: {
    group: "pool",
    form: { kind: "count", least: 0, most: 31_536_000 }, // a year
    otherwise: () => 0,
    help: "seconds without a request after which a model is unloaded; 0 for never",
  },
  contention: {
    group: "pool",
    form: { kind: "choice", of: ["wait", "fail", "evict_idle"] },
    otherwise: () => "wait",
    help: "a load that does not fit: waits until idle models make room, fails, or fails unless they do at once",
  },
  preload_models: {
    group: "pool",
    form: { kind: "texts" },
    otherwise: () => [],
    help: "models, with commas between, that are loaded at the start and never evicted",
  },
  adapters: {
    group: "pool",
    form: { kind: "texts" },
    otherwise: () => [],
    help: "folders, with commas between, that are LoRA adapters or hold some",
  },
  chat_timeout_s: {
    group: "timeouts",
    form: { kind: "number", least: 0.001, most: 86_400 },
    otherwise: () => 900,
    help: "a chat is ended after so long",
  },
  completions_timeout_s: {
    group: "timeouts",
    form: { kind: "number", least: 0.001, most: 86_400 },
    otherwise: () => 600,
    help: "a completion is ended after so long",
  },
  enable_cloud_routing: {
    group: "routing",
    form: { kind: "choice", of: ["on", "off"] },
    otherwise: () => "on", // without a provider there is nowhere to go
    help: "off: nothing leaves this machine, whatever rules say",
  },
  default_provider: {
    group: "routing",
    form: { kind: "text" },
    otherwise: () => "none",
    help: "the provider for models that no rule names and this machine lacks; auto for the first found at the start; none for nobody",
  },
  private_hosts: {
    group: "routing",
    form: { kind: "texts" },
    otherwise: () => [],
    help: "hosts in private networks, with commas between, that a provider may have",
  },
  local_only_models: {
    group: "routing",
    form: { kind: "texts" },
    otherwise: () => [],
    help: "models, with commas between and * for any letters, whose requests never leave this machine",
  },
  credentials_secret: {
    group: "routing",
    form: { kind: "choice", of: ["file", "keychain"] },
    otherwise: () => "file",
    help: "where the secret lies that the keys of providers are sealed with",
  },
  audit_days: {
    group: "audit",
    form: { kind: "count", least: 1, most: 365 },
    otherwise: () => 30,
    help: "days for which it is kept who asked what model when",
  },
  audit_bytes_max: {
    group: "audit",
    form: { kind: "bytes", least: 2 ** 20, most: 2 ** 40 },
    otherwise: () => 100 * 10 ** 6,
    help: "size of the audit, beyond which the oldest go",
  },
  hf_endpoint: {
    group: "hub",
    form: { kind: "url" },
    otherwise: () => "https://huggingface.co",
    help: "where models are published; HF_ENDPOINT says it too",
  },
  volatile_lines: {
    group: "prompts",
    form: { kind: "choice", of: ["keep", "billing", "times"] },
    otherwise: () => "billing", // as vLLM and llama.cpp do: no model is meant to read it
    help: "what of system prompts is left out that agents write anew each time: Claude Code's billing line; times also sets the minutes of the present time to 00; keep: nothing",
  },
  responses_days: {
    group: "responses",
    form: { kind: "count", least: 0, most: 365 },
    otherwise: () => 30, // as long as OpenAI keeps them
    help: "days for which answers of /v1/responses are kept after their last use; 0 for none",
  },
  responses_bytes_max: {
    group: "responses",
    form: { kind: "bytes", least: 2 ** 20, most: 2 ** 40 },
    otherwise: () => 100 * 10 ** 6, // some thousand turns of an agent
    help: "size of the answers that are kept, beyond which those go that were not used for longest",
  },
  embeddings_timeout_s: {
    group: "timeouts",
    form: { kind: "number", least: 0.001, most: 86_400 },
    otherwise: () => 120,
    help: "vectors of texts and scores of pairs are given up after so long",
  },
  stream_silence_s: {
    group: "timeouts",
    form: { kind: "number", least: 0.1, most: 86_400 },
    otherwise: () => 5, // proxies and clients give up after 30 s, and people wonder sooner; until then errors have a status
    help: "a stream that has brought nothing for so long brings a comment, with the place in the queue",
  },
};

/** What acts from the next start on. */
const STARTING: ReadonlySet<SettingName> = new Set(["host", "port", "other_programs", "credentials_secret"]);

export function needsRestart(name: SettingName): boolean {
  return STARTING.has(name);
}

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

export function settingsOf(group: SettingGroup): readonly SettingName[] {
  return SETTING_NAMES.filter((name) => SETTINGS[name].group === group);
}

export function defaultSettings(memory_bytes: number): Settings {
  const entries = SETTING_NAMES.map((name) => [name, SETTINGS[name].otherwise(memory_bytes)]);
  return Object.fromEntries(entries) as unknown as Settings;
}
