/** The only reader of the environment. */

import { homedir } from "node:os";
import { join } from "node:path";
import { ENGINE_SETTING_NAMES, type EngineSettings, parseSetting } from "./core/engine-settings.ts";
import { Failure } from "./core/failure.ts";

export interface Config {
  /** Where unpacked parts and all state are kept. */
  readonly data_folder: string;
  /** An mlx-c the owner named; null: look for one. */
  readonly mlx_library: string | null;
  /** Hugging Face's cache of downloaded repositories. */
  readonly hub_folder: string;
  /** What the environment says of the engine. */
  readonly engine: Partial<EngineSettings>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** An empty variable counts as absent. `homeOfUser`: what the system knows, without the environment. */
export function readConfig(environment: Environment = process.env, homeOfUser: () => string = homedir): Config {
  const read = (name: string) => environment[name] || null;
  const home = read("HOME") ?? systemHome(homeOfUser);
  const cache = read("XDG_CACHE_HOME") ?? join(home, ".cache");
  const hub_home = read("HF_HOME") ?? join(cache, "huggingface");
  return {
    data_folder: read("BUNSEN_HOME") ?? join(home, ".bunsen"),
    mlx_library: read("BUNSEN_MLX_LIBRARY"),
    hub_folder: read("HF_HUB_CACHE") ?? join(hub_home, "hub"),
    engine: readEngine(read),
  };
}

/** BUNSEN_ROWS_MAX for `rows_max`, and so each. */
function readEngine(read: (name: string) => string | null): Partial<EngineSettings> {
  const found = ENGINE_SETTING_NAMES.flatMap((setting) => {
    const name = `BUNSEN_${setting.toUpperCase()}`;
    const text = read(name);
    const refuse = (state: string) => new Failure("invalid_request", `Cannot use ${name}=${text}: ${state}`);
    return text === null ? [] : [[setting, parseSetting(setting, text, refuse)] as const];
  });
  return Object.fromEntries(found);
}

/** A container may run as a user whom its system does not know. */
function systemHome(homeOfUser: () => string): string {
  try {
    return homeOfUser();
  } catch {
    throw new Failure("unavailable", "Cannot find the home folder: HOME is not set, and the system knows none");
  }
}
