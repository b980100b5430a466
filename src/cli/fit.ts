/** `bunsen fit`: what a model needs and whether it fits here, from the headers of its files, or before a download from the hub. */

import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { openHub } from "../app.ts";
import { readCard } from "../card.ts";
import type { Config } from "../config.ts";
import { Failure } from "../core/failure.ts";
import type { Settings } from "../core/settings.ts";
import { purposeOfConfig } from "../formats/purpose.ts";
import { smallFiles, weightsOf } from "../hub/choice.ts";
import { type HubFile, type HubModel, isRepository } from "../hub/client.ts";
import { estimateOf, readHeaders, type TextCache, textBytes, textCache, textConfig } from "../models/estimate.ts";
import { isFamily } from "../models/load.ts";
import { refuseForeignQuantization } from "../models/quantization.ts";
import { limitBytes } from "../schedule/room.ts";
import { openStore } from "../store/database.ts";
import { LiveSettings } from "../store/live-settings.ts";
import { StoredSettings } from "../store/settings.ts";
import type { Options } from "./options.ts";
import { gigabytes, type Line, modelNamed, print } from "./show.ts";

const EXIT_DOES_NOT_FIT = 1;

interface Needs {
  readonly name: string;
  /** Of files that would have to be fetched; null: it is here. */
  readonly download_bytes: number | null;
  readonly weights_bytes: number;
  readonly step_bytes: number;
  readonly cache: TextCache;
  readonly context_length: number;
  readonly not_supported: readonly string[];
}

/** Exit code 1 when it does not fit, or cannot be loaded. */
export async function fitModel(config: Config, options: Pick<Options, "words" | "json" | "context">): Promise<void> {
  using store = openStore(config.data_folder);
  const live = new LiveSettings(config.layers, new StoredSettings(store, Date.now), totalmem());
  const [name = ""] = options.words;
  const here = await modelHere(config, name);
  const needs =
    here === null ? needsOnHub(await openHub(store, live, config).model(name, NEVER), live.values) : needsHere(here);
  tell(needs, options, limitBytes(live.values, totalmem()));
}

type ModelHere = Awaited<ReturnType<typeof modelNamed>>;

const NO_CACHE: TextCache = { token_bytes: 0, window_token_bytes: 0, window: 0, state_bytes: 0 };

const NEVER = new AbortController().signal;

/** null: it has the name of a repository, and none of that name is here. */
async function modelHere(config: Config, name: string): Promise<ModelHere | null> {
  try {
    return await modelNamed(config, [name]);
  } catch (error) {
    const is_absent = error instanceof Failure && error.kind === "not_found" && !existsSync(name);
    if (is_absent && isRepository(name)) return null;
    throw error;
  }
}

function needsHere({ name, path, values }: ModelHere): Needs {
  const card = readCard(path, values.kv_bits);
  const headers = readHeaders(path);
  const { weights_bytes, step_bytes, context_length } = estimateOf(headers, card.purpose ?? "chat", values);
  const cache = card.purpose === "chat" ? textCache(headers, values.kv_bits) : NO_CACHE;
  const { not_supported } = card;
  return { name, download_bytes: null, weights_bytes, step_bytes, cache, context_length, not_supported };
}

/** By its config and the sizes of its files: what the load would read. */
function needsOnHub({ name, files, config: whole }: HubModel, settings: Settings): Needs {
  const weights = weightsOf(files);
  if (whole === null || weights.length === 0) {
    const has_gguf = files.some(({ path }) => /\.gguf$/i.test(path));
    const state = has_gguf ? "it has GGUF files, whose headers tell that once they are here" : "it has no safetensors";
    throw new Failure("unsupported", `Cannot tell what "${name}" needs: ${state}`);
  }
  const unsized = weights.find(({ bytes }) => bytes === null);
  if (unsized !== undefined) {
    throw new Failure(
      "upstream",
      `Cannot tell what "${name}" needs: the hub does not say how large ${unsized.path} is`,
    );
  }
  const config = textConfig(whole);
  const weights_bytes = sum(weights);
  const purpose = purposeOfConfig(whole);
  const headers = { path: name, config, tensors: [], weights_bytes };
  const { step_bytes, context_length } = estimateOf(headers, purpose, settings);
  const cache = purpose === "chat" ? textCache(headers, settings.kv_bits) : NO_CACHE;
  const download_bytes = sum([...weights, ...smallFiles(files)]);
  const not_supported = troubles(whole, name);
  return { name, download_bytes, weights_bytes, step_bytes, cache, context_length, not_supported };
}

function troubles(config: Readonly<Record<string, unknown>>, name: string): readonly string[] {
  const family = config["model_type"];
  const found = isFamily(family) ? [] : [`Cannot load ${name}: its family is "${family}"`];
  try {
    refuseForeignQuantization(config, name);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    found.push(error.message);
  }
  return found;
}

function sum(files: readonly HubFile[]): number {
  return files.reduce((total, { bytes }) => total + (bytes ?? 0), 0);
}

function tell(needs: Needs, { context, json }: Pick<Options, "json" | "context">, limit_bytes: number): void {
  const { name, download_bytes, weights_bytes, step_bytes, cache, not_supported } = needs;
  const context_length = context ?? needs.context_length;
  const kv_bytes = textBytes(cache, context_length);
  const needed_bytes = weights_bytes + kv_bytes + step_bytes;
  const fits = needed_bytes <= limit_bytes && not_supported.length === 0;
  if (!fits) process.exitCode = EXIT_DOES_NOT_FIT;
  const facts = {
    ...{ name, fits, download_bytes, context_length, weights_bytes, kv_bytes, step_bytes, needed_bytes, limit_bytes },
    not_supported,
  };
  const download: readonly Line[] =
    download_bytes === null ? [] : [["download", `${gigabytes(download_bytes)} from the hub`]];
  print(json, facts, [
    ...download,
    ["weights", gigabytes(weights_bytes)],
    ["context", `${gigabytes(kv_bytes)} for keys and values of ${context_length} tokens`],
    ["a step", gigabytes(step_bytes)],
    ["needed", `${gigabytes(needed_bytes)} of ${gigabytes(limit_bytes)} that models may take here`],
    ...not_supported.map((reason): Line => ["not supported", reason]),
    ["fits", fits ? "yes" : "no"],
  ]);
}
