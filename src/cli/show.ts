/** `bunsen show` and `bunsen fit`: what a model is and what it needs, from the headers of its files. */

import { totalmem } from "node:os";
import { findModels } from "../app.ts";
import { readCard } from "../card.ts";
import type { Config } from "../config.ts";
import type { ModelCard } from "../core/card.ts";
import { estimateModel } from "../models/estimate.ts";
import { unpackParts } from "../parts.ts";
import { limitBytes } from "../schedule/room.ts";
import { openStore } from "../store/database.ts";
import { LiveSettings } from "../store/live-settings.ts";
import { StoredSettings } from "../store/settings.ts";
import type { Options } from "./options.ts";

const EXIT_DOES_NOT_FIT = 1;

export async function showModel(config: Config, { words, json }: Pick<Options, "words" | "json">): Promise<void> {
  const { name, path } = await modelNamed(config, words);
  const card = readCard(path);
  print(json, { name, path, ...card }, cardLines(card));
}

/** Exit code 1 when it does not fit, or cannot be loaded. */
export async function fitModel(config: Config, options: Pick<Options, "words" | "json" | "context">): Promise<void> {
  const { name, path } = await modelNamed(config, options.words);
  using store = openStore(config.data_folder);
  const { values } = new LiveSettings(config.layers, new StoredSettings(store, Date.now), totalmem());
  const card = readCard(path);
  const { weights_bytes, step_bytes } = estimateModel(path, values);
  const context_length = options.context ?? card.context_length ?? 0;
  const kv_bytes = card.cache.bytes_per_token * context_length;
  const needed_bytes = weights_bytes + kv_bytes + step_bytes;
  const limit_bytes = limitBytes(values, totalmem());
  const fits = needed_bytes <= limit_bytes && card.not_supported.length === 0;
  if (!fits) process.exitCode = EXIT_DOES_NOT_FIT;
  const { not_supported } = card;
  const facts = {
    name,
    fits,
    context_length,
    weights_bytes,
    kv_bytes,
    step_bytes,
    needed_bytes,
    limit_bytes,
    not_supported,
  };
  print(options.json, facts, [
    ["weights", gigabytes(weights_bytes)],
    ["context", `${gigabytes(kv_bytes)} for keys and values of ${context_length} tokens`],
    ["a step", gigabytes(step_bytes)],
    ["needed", `${gigabytes(needed_bytes)} of ${gigabytes(limit_bytes)} that models may take here`],
    ...not_supported.map((reason) => ["not supported", reason] as const),
    ["fits", fits ? "yes" : "no"],
  ]);
}

async function modelNamed(config: Config, [name = ""]: readonly string[]) {
  const { default_model } = await unpackParts(config.data_folder);
  const { catalog, wanted } = findModels(config, [name], default_model);
  return catalog.find(wanted[0] ?? name);
}

type Line = readonly [title: string, text: string];

function cardLines(card: ModelCard): readonly Line[] {
  const { cache, parameters, chat_template_options } = card;
  const share = (part: number) => `${Math.round((100 * part) / Math.max(1, parameters))} %`;
  const forms = card.quantization.map(({ form, parameters: part }) => `${form} (${share(part)})`);
  const window = cache.window === null ? "" : `, windows of ${cache.window} tokens`;
  return [
    ["family", card.family],
    ["purpose", card.purpose ?? "unknown"],
    ["parameters", `${(parameters / 1e6).toFixed(1)} million`],
    ["weights", `${gigabytes(card.bytes_weights)}: ${forms.join(", ")}`],
    ["context", card.context_length === null ? "unknown" : `${card.context_length} tokens`],
    ["cache", cache.kind === "none" ? "none" : `${cache.kind}, ${cache.bytes_per_token} bytes a token${window}`],
    [
      "chat template",
      chat_template_options === null ? "none" : `takes ${chat_template_options.join(", ") || "messages only"}`,
    ],
    ...card.notes.map((note): Line => ["note", note]),
    ...card.not_supported.map((reason): Line => ["not supported", reason]),
  ];
}

function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

function print(json: boolean, facts: object, lines: readonly Line[]): void {
  if (json) return void process.stdout.write(`${JSON.stringify(facts)}\n`);
  const width = Math.max(...lines.map(([title]) => title.length));
  for (const [title, text] of lines) process.stdout.write(`${title.padEnd(width)}  ${text}\n`);
}
