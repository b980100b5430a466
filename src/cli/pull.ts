/** `bunsen pull`: fetches a model from the hub, so that it is served. */

import { totalmem } from "node:os";
import { findModels, foundElsewhere, openHub } from "../app.ts";
import type { Config } from "../config.ts";
import type { PullStep } from "../core/hub.ts";
import { unpackParts } from "../parts.ts";
import { openStore } from "../store/database.ts";
import { LiveSettings } from "../store/live-settings.ts";
import { StoredSettings } from "../store/settings.ts";
import type { Options } from "./options.ts";
import { gigabytes } from "./show.ts";

/** Ctrl-C keeps what is here by then; the next pull goes on from there. */
export async function pullModel(config: Config, { words, json }: Pick<Options, "words" | "json">): Promise<void> {
  const [name = ""] = words;
  const { default_model } = await unpackParts(config.data_folder);
  using store = openStore(config.data_folder);
  const live = new LiveSettings(config.layers, new StoredSettings(store, Date.now), totalmem());
  let wanted = name;
  const known = () => findModels(config, [], default_model, { elsewhere: foundElsewhere(config, live.values) }).catalog;
  if (known().spelled(name) === null) {
    const line = new ProgressLine(json || !process.stderr.isTTY);
    const hub = openHub(store, live, config);
    for await (const step of hub.pull(name, NEVER)) {
      line.show(step);
      if (step.kind === "done") wanted = step.model;
    }
    line.end();
  }
  const catalog = known();
  const model = catalog.find(catalog.spelled(wanted) ?? wanted);
  process.stdout.write(json ? `${JSON.stringify({ name: model.name, path: model.path })}\n` : `${model.name}\n`);
}

const NEVER = new AbortController().signal;

/** One line that is written over while a file comes; in a log, a line a file. */
class ProgressLine {
  readonly #is_log: boolean;
  #file: string | null = null;

  constructor(is_log: boolean) {
    this.#is_log = is_log;
  }

  show(step: PullStep): void {
    if (step.kind !== "file") return;
    const { digest, bytes_here, bytes_total } = step;
    const is_new = digest !== this.#file;
    this.#file = digest;
    const name = digest.slice(digest.indexOf(":") + 1).slice(0, DIGEST_SHOWN);
    if (this.#is_log) {
      if (is_new) process.stderr.write(`pulling ${name}, ${gigabytes(bytes_total)}\n`);
      return;
    }
    const percent = bytes_total === 0 ? 100 : Math.floor((100 * bytes_here) / bytes_total);
    const text = `pulling ${name}  ${String(percent).padStart(3)} %  ${gigabytes(bytes_here)} of ${gigabytes(bytes_total)}`;
    process.stderr.write(`${is_new ? "" : "\r"}${text}${CLEAR}${bytes_here === bytes_total ? "\n" : ""}`);
    if (bytes_here === bytes_total) this.#file = null;
  }

  end(): void {
    if (this.#file !== null && !this.#is_log) process.stderr.write("\n");
  }
}

const DIGEST_SHOWN = 12;
/** To the end of the line. */
const CLEAR = "\u001b[K";
