/** `bunsen models`: what this machine can serve. */

import { totalmem } from "node:os";
import { findModels, foundElsewhere } from "../app.ts";
import type { Config } from "../config.ts";
import { unpackParts } from "../parts.ts";
import { openStore } from "../store/database.ts";
import { LiveSettings } from "../store/live-settings.ts";
import { StoredSettings } from "../store/settings.ts";
import type { Options } from "./options.ts";

export async function models(config: Config, options: Omit<Options, "command">): Promise<void> {
  const { default_model } = await unpackParts(config.data_folder);
  using store = openStore(config.data_folder);
  const { values } = new LiveSettings(config.layers, new StoredSettings(store, Date.now), totalmem());
  const { catalog } = findModels(config, options.models, default_model, {
    elsewhere: foundElsewhere(config, values),
  });
  const found = catalog.models().map(({ name }) => catalog.find(name));
  if (options.json) {
    const rows = found.map(({ name, path }) => ({ name, path }));
    process.stdout.write(`${JSON.stringify(rows)}\n`);
    return;
  }
  const width = Math.max(0, ...found.map(({ name }) => name.length));
  for (const { name, path } of found) process.stdout.write(`${name.padEnd(width)}  ${path}\n`);
}
