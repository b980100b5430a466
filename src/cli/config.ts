/** `bunsen config`: each setting, its value and who said so. */

import { totalmem } from "node:os";
import { type Config, PLACES, variableOf } from "../config.ts";
import { defaultSettings, SETTING_NAMES, SETTINGS } from "../core/settings.ts";
import { openStore } from "../store/database.ts";
import { LiveSettings } from "../store/live-settings.ts";
import { StoredSettings } from "../store/settings.ts";
import type { Options } from "./options.ts";

export function config(config: Config, { json, example }: Pick<Options, "json" | "example">): void {
  if (example) return void process.stdout.write(exampleEnvironment());
  using store = openStore(config.data_folder);
  const stored = new StoredSettings(store, Date.now);
  const { values, origins } = new LiveSettings(config.layers, stored, totalmem());
  const rows = SETTING_NAMES.map((name) => ({ name, value: values[name], origin: origins[name] }));
  if (json) return void process.stdout.write(`${JSON.stringify(rows)}\n`);
  const cells = rows.map(({ name, value, origin }) => [name, shown(value), origin]);
  const widths = [0, 1].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const lines = cells.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
  process.stdout.write(`${lines.map((line) => line.trimEnd()).join("\n")}\n`);
}

// The defaults that go by the machine's memory are shown for 16 GB of it.
const EXAMPLE_MEMORY_BYTES = 16 * 2 ** 30;

/** Every variable with its default; nothing is set until a line loses its "#". */
function exampleEnvironment(): string {
  const values = defaultSettings(EXAMPLE_MEMORY_BYTES);
  const places = Object.entries(PLACES).map(([name, help]) => `# ${help}\n#${name}=\n`);
  const settings = SETTING_NAMES.map((name) => {
    return `# ${SETTINGS[name].help}\n#${variableOf(name)}=${shown(values[name])}\n`;
  });
  const providers = [`# ${PROVIDERS_HELP}\n#OPENAI__API_KEY=\n#OLLAMA__BASE_URL=\n${MLXLM}#LLM__PROVIDER=\n`];
  return `# Written by "bunsen config --example".\n\n${[...places, ...settings, ...providers].join("\n")}`;
}

const PROVIDERS_HELP =
  "providers: the key or the address of each that is known by name, what it is asked for where a request does not say (the model as the default provider; seconds), and which one is the default provider";
const MLXLM = ["MODEL_NAME", "MAX_TOKENS", "TEMPERATURE", "TIMEOUT"].map((field) => `#MLXLM__${field}=\n`).join("");

function shown(value: unknown): string {
  return Array.isArray(value) ? value.join(",") : String(value);
}
