/** Builds every part and joins them. The only file that knows all of them. */

import { statSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { cardReader } from "./card.ts";
import { VERSION } from "./cli/version.ts";
import type { Config } from "./config.ts";
import type { Backend } from "./core/backend.ts";
import { Failure } from "./core/failure.ts";
import { NO_WISHES } from "./core/generation.ts";
import type { PrefixCache } from "./core/prefix.ts";
import type { ResponseStore } from "./core/responses.ts";
import type { Detection, Outlook, RoutingDesk, RoutingSettings } from "./core/routing.ts";
import type { EngineSettings, KvBits, Settings } from "./core/settings.ts";
import type { TokenDesk } from "./core/tokens.ts";
import { adapterNames, findAdapter } from "./hub/adapters.ts";
import { cachedModels, type FoundModel, repositoryModels } from "./hub/cache.ts";
import { modelAt } from "./hub/local.ts";
import { programModels } from "./hub/programs.ts";
import { Huggingface } from "./huggingface.ts";
import { findLibrary } from "./mlx/discovery.ts";
import { Owner } from "./owner.ts";
import { unpackParts } from "./parts.ts";
import { Profiles, wantedKvBits } from "./profiles.ts";
import { Desk } from "./route/desk.ts";
import { LocalBackend } from "./route/local.ts";
import { LocalWatch } from "./route/local-watch.ts";
import { NamedBackend, outlookWithin } from "./route/named.ts";
import { Names } from "./route/names.ts";
import { AddressGuard, resolveHost } from "./route/remote/address.ts";
import { TUNING, type Tuning } from "./route/remote/upstream.ts";
import { Router } from "./route/router.ts";
import { RunningRequests } from "./route/running.ts";
import { Catalog, type CatalogModel } from "./schedule/catalog.ts";
import type { ModelHost } from "./schedule/host.ts";
import { ModelPool } from "./schedule/pool.ts";
import { RequestQueue } from "./schedule/queue.ts";
import { Scheduler } from "./schedule/scheduler.ts";
import { StoredApiKeys } from "./store/api-keys.ts";
import { StoredAudit } from "./store/audit.ts";
import { openStore, type Store } from "./store/database.ts";
import { StoredHubToken } from "./store/hub-token.ts";
import { LiveSettings } from "./store/live-settings.ts";
import { StoredPrices } from "./store/prices.ts";
import { StoredProfiles } from "./store/profiles.ts";
import { StoredProviders } from "./store/providers.ts";
import { StoredResponses } from "./store/responses.ts";
import { StoredRules } from "./store/rules.ts";
import { Sealing } from "./store/sealing.ts";
import { keychain, secretFile } from "./store/secret.ts";
import { StoredSettings } from "./store/settings.ts";
import { startTextWorker, type TextClient } from "./text/client.ts";
import { EngineClient } from "./worker/client.ts";
import { ENGINE_COMMAND, type EnginePort } from "./worker/messages.ts";
import { EngineProcess } from "./worker/process.ts";

const DEFAULT_MODEL_NAME = "SmolLM2-135M-Instruct";
// At 135 million 4-bit weights its second choices are poor: drawn from even at 0.2, it misses the capital of France.
const DEFAULT_MODEL_SAMPLING = { ...NO_WISHES, temperature: 0 } as const;
const HOMEBREW_FOLDERS = ["/opt/homebrew/lib", "/usr/local/lib"];

/** Five servers that accept connections and never answer. */
const DETECT_MS_MAX = 30_000;

// A second more or less of an idle model's life is no matter.
const SWEEP_MS = 500;

export interface App extends AsyncDisposable {
  readonly router: Router;
  readonly desk: RoutingDesk;
  readonly providers: StoredProviders;
  /** Looks for it where the settings say `auto`, and tells what was found; null: they do not. */
  readonly findDefault: () => Promise<Detection | null>;
  /** One writer: the server's. `report` hears of what could not be written. */
  openAudit(report: (error: unknown) => void): StoredAudit;
  readonly backend: Backend;
  readonly prefix_cache: PrefixCache;
  readonly tokens: TokenDesk;
  readonly owner: Owner;
  readonly profiles: Profiles;
  readonly hub: Huggingface;
  readonly keys: StoredApiKeys;
  readonly responses: ResponseStore;
  readonly catalog: Catalog;
  /** What callers may name. */
  readonly names: Names;
  readonly outlook: (name: string) => Promise<Outlook>;
  /** What holds now. */
  readonly settings: Settings;
  readonly engine: EngineClient;
  /** Names to make resident at the start: those given on the command line, else the default model. */
  readonly wanted: readonly string[];
}

/** `models`: paths or names, as given on the command line. */
export async function buildApp(config: Config, models: readonly string[]): Promise<App> {
  const store = openStore(config.data_folder);
  const live = new LiveSettings(config.layers, new StoredSettings(store, Date.now), totalmem());
  const settings = live.values;
  const parts = await unpackParts(config.data_folder);
  const elsewhere = foundElsewhere(config, settings);
  const stored_profiles = new StoredProfiles(store, Date.now);
  const kvBits = (path: string): KvBits => wantedKvBits(path, stored_profiles.profiles(), catalog) ?? settings.kv_bits;
  const { catalog, wanted } = findModels(config, models, parts.default_model, {
    elsewhere,
    adapterFolders: () => settings.adapters,
    kvBits,
  });
  const { engine, text, grammars } = startThreads(config, settings, libraryAt(config, parts.library_folder));
  const pool = new ModelPool(hostOf(engine, text, kvBits), settings, totalmem(), Date.now);
  engine.limitMemory(pool.ledger.limit_bytes);
  engine.watchAdapters((model, memory) => pool.ledger.adapt(model, memory));
  const queue = new RequestQueue(settings, () => performance.now());
  const sweeps = setInterval(() => void pool.sweep(), SWEEP_MS);
  const scheduler = new Scheduler(engine, queue, pool);
  const local = new LocalBackend(catalog, { text, grammars }, scheduler, RANDOM, settings);
  const running = new RunningRequests(local, settings, Date.now);
  const responses = new StoredResponses(store, settings, Date.now);
  const names = new Names(catalog, () => stored_profiles.profiles());
  const outlook = async (name: string) => {
    const { model, profile } = names.resolve(name);
    return outlookWithin(await scheduler.outlook(catalog.choose(model, null).model), profile);
  };
  const backend = new NamedBackend(running, local, names);
  const { providers, hub_token } = openCredentials(store, settings, config);
  const routing = buildRouting({ store, settings, providers, local: backend, names, outlook });
  const findDefault = () => routing.findDefault(AbortSignal.timeout(DETECT_MS_MAX));
  let audit: StoredAudit | null = null;
  const retainAudit = () => audit?.retain();
  const owner = new Owner({
    hub_folder: config.hub_folder,
    ...{ catalog, names, pool, engine, queue, running, live, wanted, findDefault, retainAudit },
    profiles: stored_profiles,
  });
  return {
    backend,
    prefix_cache: backend,
    tokens: backend,
    owner,
    profiles: new Profiles(stored_profiles, catalog, owner),
    hub: new Huggingface(settings, hub_token, config.hub_token, async (changes) => await owner.change(changes), {
      folder: config.hub_folder,
      arrived: (folder) => {
        for (const found of repositoryModels(folder)) catalog.add({ ...found, sampling: NO_WISHES });
      },
    }),
    keys: new StoredApiKeys(store, Date.now),
    responses,
    names,
    outlook,
    ...routing,
    findDefault,
    openAudit(report) {
      audit = new StoredAudit(store, settings, Date.now, report);
      return audit;
    },
    catalog,
    settings,
    engine,
    wanted,
    async [Symbol.asyncDispose]() {
      clearInterval(sweeps);
      responses[Symbol.dispose]();
      text.close();
      grammars.close();
      await engine.close();
      store[Symbol.dispose]();
    },
  };
}

function startThreads(config: Config, settings: Settings, library: string) {
  const engine = new EngineClient(() => startEngine(settings.isolation), {
    library,
    settings,
    blocks: { folder: join(config.data_folder, "prefix-cache"), version: VERSION },
  });
  const text = startText();
  // Both open what they need while the rest is built.
  text.begin();
  engine.begin();
  return { engine, text, grammars: startText(COMPILE_MS_MAX) };
}

function startText(silence_ms_max?: number) {
  return startTextWorker(new URL("./text/main.ts", import.meta.url).href, silence_ms_max);
}

function hostOf(engine: EngineClient, text: TextClient, kvBits: (path: string) => KvBits): ModelHost {
  return {
    measure: (path) => engine.measure(path, kvBits(path)),
    load: (model, path, kv_bytes_max, told) => engine.load(model, path, kv_bytes_max, told, kvBits(path)),
    unload: (model) => engine.unload(model),
    trimAdapters: (model) => engine.trimAdapters(model),
    prepare: async (path) => void (await text.load(path)),
    forget: (path) => text.forget(path),
  };
}

const RANDOM = {
  seed: () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
  callId: () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => LETTERS[byte % 32]).join(""),
};

/** `live` stores what is changed of it. */
export function openHub(
  store: Store,
  live: LiveSettings,
  config: Pick<Config, "data_folder" | "providers" | "hub_token" | "hub_folder">,
): Huggingface {
  const { hub_token } = openCredentials(store, live.values, config);
  return new Huggingface(live.values, hub_token, config.hub_token, async (changes) => live.change(changes), {
    folder: config.hub_folder,
    arrived: () => undefined,
  });
}

/** Of calls' ids; 32, so that each is as likely. */
const LETTERS = "abcdefghijkmnpqrstuvwxyz23456789";

export interface RoutingParts {
  readonly settings: Settings;
  readonly store: Store;
  readonly providers: StoredProviders;
  readonly local: Backend;
  readonly names: Pick<Names, "has" | "resolve">;
  readonly outlook: (name: string) => Promise<Outlook>;
  readonly tuning?: Tuning;
}

/** All that lies sealed, as the settings say. */
export function openCredentials(store: Store, settings: Settings, config: Pick<Config, "data_folder" | "providers">) {
  const file = join(config.data_folder, "secret");
  const secret = settings.credentials_secret === "keychain" ? keychain() : secretFile(file);
  const sealing = new Sealing(secret);
  return {
    sealing,
    providers: new StoredProviders(store, sealing, Date.now, config.providers),
    hub_token: new StoredHubToken(new StoredSettings(store, Date.now), sealing),
  };
}

/** Everything between the door and whoever answers. */
export function buildRouting({ store, settings, providers, local, names, outlook, tuning = TUNING }: RoutingParts) {
  const rules = new StoredRules(store, Date.now);
  const prices = new StoredPrices(new StoredSettings(store, Date.now));
  let found: string | null = null;
  const defaultProvider = () => {
    const { default_provider } = settings;
    if (default_provider === "auto") return found;
    return default_provider === "none" ? null : default_provider;
  };
  const guard = new AddressGuard(resolveHost, () => performance.now());
  const routingSettings = (): RoutingSettings => {
    const default_provider = defaultProvider();
    return {
      enable_cloud_routing: settings.enable_cloud_routing === "on",
      default_provider,
      default_model: default_provider === null ? null : providers.defaults(default_provider).model,
      private_hosts: settings.private_hosts,
      local_only_models: settings.local_only_models,
    };
  };
  const router = new Router({
    local,
    hasModel: (name) => names.has(name),
    meaning: (name) => names.resolve(name),
    outlook,
    watch: new LocalWatch(() => performance.now()),
    providers,
    rules: () => rules.rules(),
    prices: () => prices.prices(),
    settings: routingSettings,
    guard,
    tuning,
    random: Math.random,
  });
  const desk = new Desk(router, { providers, rules, prices }, guard, routingSettings);
  /** Looks for it where the settings say `auto`, and tells what was found; null: they do not. */
  const findDefault = async (signal: AbortSignal): Promise<Detection | null> => {
    if (settings.default_provider !== "auto") return null;
    const detection = await desk.detect(signal);
    if (detection.provider !== null) providers.adopt(detection.provider);
    found = detection.provider?.name ?? null;
    return detection;
  };
  return { router, desk, providers, findDefault };
}

// What compiling may take is bounded in steps, some seconds; a text that takes longer to check hangs in its own pattern.
const COMPILE_MS_MAX = 20_000;
/** The mlx-c to open; `own_folder` is what this program carries. */
export function libraryAt(config: Pick<Config, "mlx_library">, own_folder: string | null): string {
  const homebrew_folders = process.platform === "darwin" ? HOMEBREW_FOLDERS : [];
  return findLibrary({ named: config.mlx_library, own_folder, homebrew_folders }, process.platform);
}

/** `./worker/main.ts` as a thread, or in this program's hidden command. */
export function startEngine(isolation: EngineSettings["isolation"]): EnginePort {
  if (isolation === "worker") return new Worker(new URL("./worker/main.ts", import.meta.url).href);
  const is_compiled = Bun.embeddedFiles.length > 0;
  return new EngineProcess([
    process.execPath,
    ...(is_compiled ? [] : [join(import.meta.dir, "main.ts")]),
    ENGINE_COMMAND,
  ]);
}

/** What other programs keep, if the owner wants it served. */
export function foundElsewhere(config: Pick<Config, "program_folders">, settings: Settings): readonly FoundModel[] {
  return settings.other_programs === "on" ? programModels(config.program_folders) : [];
}

interface Surroundings {
  readonly elsewhere?: readonly FoundModel[];
  readonly adapterFolders?: () => readonly string[];
  /** In which the model at a path keeps keys and values. */
  readonly kvBits?: (path: string) => KvBits;
}

/** Given models first, then the default one, then what Hugging Face's cache holds, then what was found elsewhere. */
export function findModels(
  config: Config,
  given: readonly string[],
  default_model: string | null,
  { elsewhere = [], adapterFolders = () => [], kvBits = () => 32 }: Surroundings = {},
): { catalog: Catalog; wanted: readonly string[] } {
  const own = default_model === null ? [] : [defaultModel(default_model)];
  const cached: CatalogModel[] = [...cachedModels(config.hub_folder), ...elsewhere].map((found) => ({
    ...found,
    sampling: NO_WISHES,
  }));
  const known = new Map([...cached, ...own].map((model) => [model.name, model]));
  const named = distinct(given.map((name) => known.get(name) ?? atPath(name)));
  const catalog = new Catalog(
    [...named, ...own, ...cached],
    {
      find: (name) => findAdapter(adapterFolders(), name),
      names: () => adapterNames(adapterFolders()),
    },
    cardReader(kvBits),
  );
  return { catalog, wanted: (named.length > 0 ? named : own).map((model) => model.name) };
}

/** A model given twice counts once; two of one name could not be told apart. */
function distinct(models: readonly CatalogModel[]): readonly CatalogModel[] {
  const by_name = new Map<string, CatalogModel>();
  for (const model of models) {
    const other = by_name.get(model.name) ?? model;
    if (other.path !== model.path) {
      const state = `"${other.path}" and "${model.path}" have the same name, rename one`;
      throw new Failure("invalid_request", `Cannot serve two models as "${model.name}": ${state}`);
    }
    by_name.set(model.name, model);
  }
  return [...by_name.values()];
}

function defaultModel(path: string): CatalogModel {
  return { name: DEFAULT_MODEL_NAME, path, ...fileFacts(path), sampling: DEFAULT_MODEL_SAMPLING };
}

function atPath(path: string): CatalogModel {
  const found = modelAt(path);
  return { ...found, sampling: NO_WISHES };
}

function fileFacts(path: string): { readonly changed_s: number; readonly bytes: number } {
  const { mtimeMs, size } = statSync(path);
  return { changed_s: Math.floor(mtimeMs / 1000), bytes: size };
}
