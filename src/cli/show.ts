/** `bunsen show`: what a model is, from the headers of its files. */

import { findModels } from "../app.ts";
import { readCard } from "../card.ts";
import type { Config } from "../config.ts";
import type { ModelCard } from "../core/card.ts";
import { unpackParts } from "../parts.ts";
import type { Options } from "./options.ts";

export async function showModel(config: Config, { words, json }: Pick<Options, "words" | "json">): Promise<void> {
  const { name, path } = await modelNamed(config, words);
  const card = readCard(path);
  print(json, { name, path, ...card }, cardLines(card));
}

export async function modelNamed(config: Config, [name = ""]: readonly string[]) {
  const { default_model } = await unpackParts(config.data_folder);
  const { catalog, wanted } = findModels(config, [name], default_model);
  return catalog.find(wanted[0] ?? name);
}

export type Line = readonly [title: string, text: string];

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

export function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

export function print(json: boolean, facts: object, lines: readonly Line[]): void {
  if (json) return void process.stdout.write(`${JSON.stringify(facts)}\n`);
  const width = Math.max(...lines.map(([title]) => title.length));
  for (const [title, text] of lines) process.stdout.write(`${title.padEnd(width)}  ${text}\n`);
}
