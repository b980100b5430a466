/** `bunsen credentials rotate`: seals the keys of providers and the token of the hub with a new secret. */

import { totalmem } from "node:os";
import { openCredentials } from "../app.ts";
import type { Config } from "../config.ts";
import { openStore } from "../store/database.ts";
import { LiveSettings } from "../store/live-settings.ts";
import { rotate } from "../store/rotation.ts";
import { StoredSettings } from "../store/settings.ts";

export async function credentials(config: Config): Promise<void> {
  using store = openStore(config.data_folder);
  const { values } = new LiveSettings(config.layers, new StoredSettings(store, Date.now), totalmem());
  const { sealing, providers, hub_token } = openCredentials(store, values, config);
  const { sealed, lost } = await rotate(store, sealing, [providers, hub_token]);
  const lines = [`${sealed} keys are sealed with a new secret`, ...lost.map((name) => `Lost, enter it again: ${name}`)];
  process.stdout.write(`${lines.join("\n")}\n`);
}
