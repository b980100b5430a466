/** `bunsen keys`: makes, lists and removes the keys of callers; a server that runs knows of it at once. */

import type { Config } from "../config.ts";
import type { ApiKey } from "../core/api-keys.ts";
import { Failure } from "../core/failure.ts";
import { StoredApiKeys } from "../store/api-keys.ts";
import { openStore } from "../store/database.ts";
import { API_KEY_NAME } from "../wire/api-keys.ts";
import type { Options } from "./options.ts";

export function keys(config: Config, options: Pick<Options, "words" | "admin" | "local_only" | "json">): void {
  using store = openStore(config.data_folder);
  const stored = new StoredApiKeys(store, Date.now);
  const [act, name = ""] = options.words;
  if (act === "create") create(stored, name, options);
  else if (act === "remove") remove(stored, name, options);
  else print(options, stored.keys(), (all) => all.map(lineOf).join("\n") || "there are none");
}

type Wishes = Pick<Options, "admin" | "local_only" | "json">;

function create(stored: StoredApiKeys, name: string, wishes: Wishes): void {
  if (!new RegExp(API_KEY_NAME).test(name)) {
    const state = "expected letters, digits and . _ @ -, at most 64";
    throw new Failure("invalid_request", `Cannot name an API key "${name}": ${state}`, "name");
  }
  const words = { name, admin: wishes.admin, privacy: wishes.local_only ? ("local-only" as const) : null };
  print(wishes, { ...words, api_key: stored.add(words).secret }, ({ api_key }) => api_key);
}

function remove(stored: StoredApiKeys, name: string, wishes: Wishes): void {
  const found = stored.keys().find((key) => key.name === name);
  if (found === undefined)
    throw new Failure("not_found", `Cannot remove API key "${name}": there is none of that name`);
  stored.remove(String(found.id));
  print(wishes, { removed: name }, () => `removed ${name}`);
}

function lineOf({ name, admin, privacy, created_ms }: ApiKey): string {
  const marks = [admin ? "admin" : null, privacy].filter((mark) => mark !== null);
  return [name.padEnd(20), new Date(created_ms).toISOString().slice(0, 10), ...marks].join("  ");
}

function print<Value>({ json }: Pick<Options, "json">, value: Value, text: (value: Value) => string): void {
  process.stdout.write(`${json ? JSON.stringify(value) : text(value)}\n`);
}
