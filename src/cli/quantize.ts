/** `bunsen quantize`: a model in fewer bits, as a folder, with progress where somebody watches. */

import { statSync } from "node:fs";
import { findModels, libraryAt } from "../app.ts";
import type { Config } from "../config.ts";
import { openLibrary } from "../mlx/library.ts";
import { openDenseSource } from "../models/dense-source.ts";
import { quantizeModel } from "../models/quantize.ts";
import { unpackParts } from "../parts.ts";
import { publishedFiles } from "../text/published-files.ts";
import type { Options } from "./options.ts";

export async function quantize(
  config: Config,
  options: Pick<Options, "words" | "json" | "quantization">,
): Promise<void> {
  const [named = "", target = ""] = options.words;
  const parts = await unpackParts(config.data_folder);
  const { catalog, wanted } = findModels(config, [named], parts.default_model);
  const { path } = catalog.find(wanted[0] ?? named);
  openLibrary(libraryAt(config, parts.library_folder));
  using source = openDenseSource(path, statSync(path).isDirectory() ? undefined : publishedFiles(path));
  const interruption = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interruption.abort());
  const told = process.stderr.isTTY ? showProgress : () => undefined;
  await quantizeModel(source, target, options.quantization, told, interruption.signal);
  const { mode, bits, group_size } = options.quantization;
  const facts = { source: path, target, mode, bits, group_size };
  const sentence = `${target} has ${bits} bits a weight in ${mode} groups of ${group_size}`;
  process.stdout.write(options.json ? `${JSON.stringify(facts)}\n` : `${sentence}\n`);
}

function showProgress(done_bytes: number, total_bytes: number): void {
  const share = Math.floor((100 * done_bytes) / Math.max(1, total_bytes));
  process.stderr.write(`\r${share} %${done_bytes === total_bytes ? "\n" : ""}`);
}
