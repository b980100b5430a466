/** Settings as several places say them, one over the other. Knows neither the places nor what a setting does. */

import { Failure } from "./failure.ts";
import { defaultSettings, SETTING_NAMES, type SettingName, type Settings } from "./settings.ts";

/** What one place says. `origin` names the place as its reader knows it. */
export interface SettingLayer {
  readonly values: Partial<Settings>;
  readonly origin: (name: SettingName) => string;
}

export interface ResolvedSettings {
  readonly values: Settings;
  readonly origins: Readonly<Record<SettingName, string>>;
}

/** A later layer goes before an earlier one. */
export function resolveSettings(layers: readonly SettingLayer[], memory_bytes: number): ResolvedSettings {
  const defaults: SettingLayer = { values: defaultSettings(memory_bytes), origin: () => "default" };
  const all = [defaults, ...layers];
  const said = SETTING_NAMES.map((name) => {
    const layer = all.findLast(({ values }) => values[name] !== undefined) ?? defaults;
    return { name, value: layer.values[name], origin: layer.origin(name) };
  });
  const values = Object.fromEntries(said.map(({ name, value }) => [name, value])) as unknown as Settings;
  refuseMoreThanAll(values);
  return {
    values,
    origins: Object.fromEntries(said.map(({ name, origin }) => [name, origin])) as Record<SettingName, string>,
  };
}

/** Which numbers make sense only the mode tells, and another place may have said it. */
function refuseMoreThanAll({ memory_limit_mode, memory_limit_value }: Settings): void {
  if (memory_limit_mode === "gb" || memory_limit_value <= 100) return;
  const state = `expected a number from 0.001 to 100 where memory_limit_mode is percent, found ${memory_limit_value}`;
  throw new Failure("invalid_request", `Cannot use "memory_limit_value": ${state}`, "memory_limit_value");
}
