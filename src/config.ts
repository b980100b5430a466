/** Where everything lies and what was said of every setting. The only reader of the environment. */

import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Failure } from "./core/failure.ts";
import { checkSetting, parseSetting, unknownSetting } from "./core/given-settings.ts";
import { KNOWN_PROVIDERS } from "./core/known-providers.ts";
import { nearest } from "./core/nearest.ts";
import type { GivenProvider } from "./core/routing.ts";
import type { SettingLayer } from "./core/setting-layers.ts";
import { SETTING_NAMES, type SettingName, type Settings } from "./core/settings.ts";
import type { ProgramFolders } from "./hub/programs.ts";
import type { GivenToken } from "./huggingface.ts";

export interface Config {
  /** Where unpacked parts and all state are kept. */
  readonly data_folder: string;
  /** An mlx-c the owner named; null: look for one. */
  readonly mlx_library: string | null;
  /** Hugging Face's cache of downloaded repositories. */
  readonly hub_folder: string;
  readonly hub_token: GivenToken;
  readonly program_folders: ProgramFolders;
  /** Providers that the environment names, such as OPENAI__API_KEY. */
  readonly providers: readonly GivenProvider[];
  /** What the file, the environment and the command line say now, in this order. */
  readonly layers: () => readonly SettingLayer[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What the command line says. */
export interface Flags {
  /** The file of settings; null: `bunsen.toml` or `bunsen.json` in the data folder, if there is one. */
  readonly config_file: string | null;
  readonly settings: Partial<Settings>;
}

const NO_FLAGS: Flags = { config_file: null, settings: {} };

/** Variables that are no settings, and what each is. */
export const PLACES: Readonly<Record<string, string>> = {
  BUNSEN_HOME: "where unpacked parts, the prefix cache and stored settings are kept; ~/.bunsen unless set",
  BUNSEN_MLX_LIBRARY: "an mlx-c library to use in place of the built-in one",
  BUNSEN_KERNELS: "the set of kernels on Linux, in place of the best that runs: avx512vnni, avx512, avx2, portable",
};

/** An empty variable counts as absent. `homeOfUser`: what the system knows, without the environment. */
export function readConfig(
  flags: Flags = NO_FLAGS,
  environment: Environment = process.env,
  homeOfUser: () => string = homedir,
): Config {
  const read = (name: string) => environment[name] || null;
  const home = read("HOME") ?? systemHome(homeOfUser);
  const cache = read("XDG_CACHE_HOME") ?? join(home, ".cache");
  const hub_home = read("HF_HOME") ?? join(cache, "huggingface");
  const data_folder = read("BUNSEN_HOME") ?? join(home, ".bunsen");
  return {
    data_folder,
    mlx_library: read("BUNSEN_MLX_LIBRARY"),
    hub_folder: read("HF_HUB_CACHE") ?? join(hub_home, "hub"),
    hub_token: {
      token: read("HF_TOKEN") ?? read("HUGGING_FACE_HUB_TOKEN"),
      file: read("HF_TOKEN_PATH") ?? join(hub_home, "token"),
    },
    program_folders: {
      lmstudio: [join(home, ".lmstudio/models"), join(cache, "lm-studio/models")],
      ollama: read("OLLAMA_MODELS") ?? join(home, ".ollama/models"),
      llamacpp:
        read("LLAMA_CACHE") ?? join(process.platform === "darwin" ? join(home, "Library/Caches") : cache, "llama.cpp"),
    },
    providers: readProviders(environment),
    layers: () => [
      ...fileLayer(flags.config_file, data_folder),
      { values: readEnvironment(environment), origin: variableOf },
      { values: flags.settings, origin: optionOf },
    ],
  };
}

const FIELDS = ["BASE_URL", "API_KEY", "MODEL_NAME", "MAX_TOKENS", "TEMPERATURE", "TIMEOUT"];

/** OPENAI__API_KEY and so on. One that is known by name has its address; a key alone will do, or LLM__PROVIDER. */
function readProviders(environment: Environment): readonly GivenProvider[] {
  for (const [name, text] of Object.entries(environment)) refuseField(name, text);
  return KNOWN_PROVIDERS.flatMap((known) => {
    const name = (field: string) => `${known.name.toUpperCase()}__${field}`;
    const read = (field: string) => environment[name(field)] || null;
    const number = (field: string, least: number, most: number) =>
      numberIn(name(field), read(field), { least, most, is_whole: field === "MAX_TOKENS" });
    if (environment["LLM__PROVIDER"] !== known.name && FIELDS.every((field) => read(field) === null)) return [];
    const base_url = (read("BASE_URL") ?? known.base_url).replace(/\/+$/, "");
    const defaults = {
      model: read("MODEL_NAME"),
      max_tokens: number("MAX_TOKENS", 1, 1e9),
      temperature: number("TEMPERATURE", 0, 2),
      timeout_s: number("TIMEOUT", 1, 86_400),
    };
    return [{ provider: { ...known, base_url }, key: read("API_KEY"), defaults }];
  });
}

function numberIn(
  name: string,
  text: string | null,
  { least, most, is_whole }: { readonly least: number; readonly most: number; readonly is_whole: boolean },
): number | null {
  if (text === null) return null;
  const value = Number(text);
  if (value >= least && value <= most && (Number.isInteger(value) || !is_whole)) return value;
  const expected = `expected a ${is_whole ? "whole " : ""}number from ${least} to ${most}`;
  throw new Failure("invalid_request", `Cannot use ${name}=${text}: ${expected}`);
}

/** A field of a provider that has no effect is refused, like any other. */
function refuseField(name: string, text: string | undefined): void {
  const [owner, field = ""] = name.split(/__(.*)/s);
  const is_ours = KNOWN_PROVIDERS.some((known) => known.name.toUpperCase() === owner);
  if (!text || !is_ours || field === "" || FIELDS.includes(field)) return;
  const state = `of a provider the environment tells ${FIELDS.join(", ")}; a rule may tell the rest`;
  throw new Failure("invalid_request", `Cannot use ${name}: ${state}`);
}

/** BUNSEN_ROWS_MAX for `rows_max`, and so each. */
export function variableOf(setting: string): string {
  return `BUNSEN_${setting.toUpperCase()}`;
}

/** --rows-max for `rows_max`, and so each. */
export function optionOf(setting: string): string {
  return `--${setting.replaceAll("_", "-")}`;
}

function readEnvironment(environment: Environment): Partial<Settings> {
  const names = new Map(SETTING_NAMES.map((setting) => [variableOf(setting), setting]));
  const own = Object.entries(environment).filter(([name, text]) => name.startsWith("BUNSEN_") && Boolean(text));
  const said = own.flatMap(([name, text = ""]) => {
    const setting = names.get(name);
    // Those of tests are no part of the program.
    if (setting === undefined && !(name in PLACES) && !name.startsWith("BUNSEN_TEST_")) {
      throw unknownSetting("the environment", name, nearest(name, [...names.keys(), ...Object.keys(PLACES)]));
    }
    const refuse = (state: string) => new Failure("invalid_request", `Cannot use ${name}=${text}: ${state}`);
    return setting === undefined ? [] : [[setting, parseSetting(setting, text, refuse)] as const];
  });
  return { ...readOthersWords(environment), ...Object.fromEntries(said) };
}

/** Settings that other programs have a variable for. */
function readOthersWords(environment: Environment): Partial<Settings> {
  const { LLM__PROVIDER: default_provider, HF_ENDPOINT: hf_endpoint } = environment;
  const refuse = (state: string) => new Failure("invalid_request", `Cannot use HF_ENDPOINT=${hf_endpoint}: ${state}`);
  return {
    ...(default_provider ? { default_provider } : {}),
    ...(hf_endpoint ? { hf_endpoint: parseSetting("hf_endpoint", hf_endpoint, refuse) } : {}),
  };
}

const FILE_NAMES = ["bunsen.toml", "bunsen.json"];

function fileLayer(named: string | null, data_folder: string): SettingLayer[] {
  const found = FILE_NAMES.map((name) => join(data_folder, name)).find((path) => existsSync(path));
  const path = named ?? found;
  return path === undefined ? [] : [{ values: readFile(path), origin: () => path }];
}

function readFile(path: string): Partial<Settings> {
  const said = Object.entries(parseFile(path)).map(([name, value]) => {
    const setting = SETTING_NAMES.find((known) => known === name);
    if (setting === undefined) throw unknownSetting(path, name, nearest(name, SETTING_NAMES));
    return [setting, checkSetting(setting, value, refusal(path, setting, value))] as const;
  });
  return Object.fromEntries(said);
}

function refusal(path: string, setting: SettingName, value: unknown): (state: string) => Failure {
  return (state) =>
    new Failure("invalid_request", `Cannot use ${setting} = ${JSON.stringify(value)} in ${path}: ${state}`, setting);
}

function parseFile(path: string): object {
  try {
    const text = readFileSync(path, "utf8");
    const parsed: unknown = path.endsWith(".json") ? JSON.parse(text) : Bun.TOML.parse(text);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed;
  } catch (error) {
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new Failure("invalid_request", `Cannot read the settings in ${path}: ${reason}`);
  }
  throw new Failure("invalid_request", `Cannot read the settings in ${path}: it must hold names with values`);
}

/** A container may run as a user whom its system does not know. */
function systemHome(homeOfUser: () => string): string {
  try {
    return homeOfUser();
  } catch {
    throw new Failure("unavailable", "Cannot find the home folder: HOME is not set, and the system knows none");
  }
}
