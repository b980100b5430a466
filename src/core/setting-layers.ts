/** Settings as several places say them, one over the other. Knows neither the places nor what a setting does. */

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
  return {
    values: Object.fromEntries(said.map(({ name, value }) => [name, value])) as unknown as Settings,
    origins: Object.fromEntries(said.map(({ name, origin }) => [name, origin])) as Record<SettingName, string>,
  };
}
