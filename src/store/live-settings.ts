/** The settings as they stand now: what was said at the start, and over it what was stored while a server ran. */

import { Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import { checkSetting } from "../core/given-settings.ts";
import { type ResolvedSettings, resolveSettings, type SettingLayer } from "../core/setting-layers.ts";
import { SETTING_NAMES, type SettingName, type Settings } from "../core/settings.ts";
import type { StoredSettings } from "./settings.ts";

export class LiveSettings {
  readonly #readLayers: () => readonly SettingLayer[];
  readonly #stored: StoredSettings;
  readonly #memory_bytes: number;
  readonly #resolved: ResolvedSettings;

  /** `readLayers`: what the file, the environment and the command line say, read anew each time. */
  constructor(readLayers: () => readonly SettingLayer[], stored: StoredSettings, memory_bytes: number) {
    this.#readLayers = readLayers;
    this.#stored = stored;
    this.#memory_bytes = memory_bytes;
    this.#resolved = this.#resolve();
  }

  /** Always the same object, with what holds now: whoever keeps it reads a field when it is needed. */
  get values(): Settings {
    return this.#resolved.values;
  }

  get origins(): ResolvedSettings["origins"] {
    return this.#resolved.origins;
  }

  /** Stores what is given, each checked before; tells the names whose value is another now. Nothing has changed when it throws. */
  change(values: Partial<Settings>): readonly SettingName[] {
    const resolved = this.#stored.atOnce(() => {
      for (const [name, value] of Object.entries(values)) this.#stored.write(name, Type.Unknown(), value);
      return this.#resolve();
    });
    return this.#adopt(resolved);
  }

  /** Reads everything anew; nothing has changed when it throws. */
  reload(): readonly SettingName[] {
    return this.#adopt(this.#resolve());
  }

  #adopt({ values, origins }: ResolvedSettings): readonly SettingName[] {
    const changed = SETTING_NAMES.filter((name) => !Bun.deepEquals(values[name], this.values[name]));
    Object.assign(this.values, values);
    Object.assign(this.origins, origins);
    return changed;
  }

  #resolve(): ResolvedSettings {
    const stored = { values: this.#readStored(), origin: () => "stored" };
    return resolveSettings([...this.#readLayers(), stored], this.#memory_bytes);
  }

  #readStored(): Partial<Settings> {
    const said = SETTING_NAMES.flatMap((name) => {
      const value = this.#stored.read(name, Type.Unknown());
      if (value === null) return [];
      const refuse = (state: string) => new Failure("unavailable", `Cannot use the stored setting ${name}: ${state}`);
      return [[name, checkSetting(name, value, refuse)] as const];
    });
    return Object.fromEntries(said);
  }
}
