/** `bunsen show`: what a model is, from the headers of its files. */

import { totalmem } from "node:os";
import { findModels } from "../app.ts";
import { readCard } from "../card.ts";
import type { Config } from "../config.ts";
import type { ModelCard } from "../core/card.ts";
import { unpackParts } from "../parts.ts";
import { wantedKvBits } from "../profiles.ts";
import { openStore } from "../store/database.ts";
import { LiveSettings } from "../store/live-settings.ts";
import { StoredProfiles } from "../store/profiles.ts";
import { StoredSettings } from "../store/settings.ts";
import type { Options } from "./options.ts";

export async function showModel(config: Config, { words, json }: Pick<Options, "words" | "json">): Promise<void> {
  const { name, path, values } = await modelNamed(config, words);
  const card = readCard(path, values.kv_bits);
  print(json, { name, path, ...card }, cardLines(card));
}

/** With the settings as they hold for it. */
export async function modelNamed(config: Config, [name = ""]: readonly string[]) {
  const { default_model } = await unpackParts(config.data_folder);
  const { catalog, wanted } = findModels(config, [name], default_model);
  const model = catalog.find(wanted[0] ?? name);
  using store = openStore(config.data_folder);
  const { values } = new LiveSettings(config.layers, new StoredSettings(store, Date.now), totalmem());
  const profiles = new StoredProfiles(store, Date.now).profiles();
  const kv_bits = wantedKvBits(model.path, profiles, catalog) ?? values.kv_bits;
  return { ...model, values: { ...values, kv_bits } };
}

export type Line = readonly [title: string, text: string];

function cardLines(card: ModelCard): readonly Line[] {
  const { cache, parameters, chat_template_options } = card;
  const share = (part: number) => `${Math.round((100 * part) / Math.max(1, parameters))} %`;
  const forms = card.quantization.map(({ form, parameters: part }) => `${form} (${share(part)})`);
  const bits = cache.bits === 32 ? "" : ` in ${cache.bits} bits`;
  const window = cache.window === null ? "" : `, windows of ${cache.window} tokens`;
  const text = cache.bytes_per_text === 0 ? "" : `, ${cache.bytes_per_text} bytes a text`;
  return [
    ["family", card.family],
    ["purpose", card.purpose ?? "unknown"],
    ["parameters", `${(parameters / 1e6).toFixed(1)} million`],
    ["weights", `${gigabytes(card.bytes_weights)}: ${forms.join(", ")}`],
    ["context", card.context_length === null ? "unknown" : `${card.context_length} tokens`],
    [
      "cache",
      cache.kind === "none" ? "none" : `${cache.kind}, ${cache.bytes_per_token} bytes a token${bits}${window}${text}`,
    ],
    [
      "chat template",
      chat_template_options === null ? "none" : `takes ${chat_template_options.join(", ") || "messages only"}`,
    ],
    ...card.notes.map((note): Line => ["note", note]),
    ...card.not_supported.map((reason): Line => ["not supported", reason]),
  ];
}

export function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

export function print(json: boolean, facts: object, lines: readonly Line[]): void {
  if (json) return void process.stdout.write(`${JSON.stringify(facts)}\n`);
  const width = Math.max(...lines.map(([title]) => title.length));
  for (const [title, text] of lines) process.stdout.write(`${title.padEnd(width)}  ${text}\n`);
}
