/** Which models this server answers for, and where their files lie. Loads nothing. */

import type { AdapterFiles } from "../core/adapter.ts";
import type { ModelList, ModelRecord } from "../core/backend.ts";
import type { ModelCard } from "../core/card.ts";
import { Failure } from "../core/failure.ts";
import type { SamplingWishes } from "../core/generation.ts";
import { bareName, isQuantization, preferred, splitName } from "../core/model-names.ts";

export interface CatalogModel {
  readonly name: string;
  /** A model folder or a GGUF file. */
  readonly path: string;
  readonly changed_s: number;
  /** Of its weights, on disk. */
  readonly bytes: number;
  /** What its authors recommend where its files do not say. */
  readonly sampling: SamplingWishes;
}

/** The adapters that are there now. */
export interface AdapterList {
  find(name: string): AdapterFiles | null;
  names(): readonly string[];
}

const NO_ADAPTERS: AdapterList = { find: () => null, names: () => [] };

function noCard(path: string): ModelCard {
  throw new Failure("unavailable", `Cannot describe the model in ${path}: nothing reads it here`);
}

export class Catalog implements ModelList {
  readonly #models: Map<string, CatalogModel>;
  readonly #adapters: AdapterList;
  readonly #readCard: (path: string) => ModelCard;

  /** Of two models with one name the first counts; `readCard` reads the files at a path. */
  constructor(models: readonly CatalogModel[], adapters: AdapterList = NO_ADAPTERS, readCard = noCard) {
    this.#adapters = adapters;
    this.#readCard = readCard;
    this.#models = new Map([...models].reverse().map((model) => [model.name, model]));
  }

  /** A model that has come since; one of its name, or of its files, that is there stays as it is. */
  add(model: CatalogModel): void {
    if (this.#models.has(model.name) || [...this.#models.values()].some(({ path }) => path === model.path)) return;
    // The last is listed first.
    const before = [...this.#models];
    this.#models.clear();
    for (const [name, each] of [[model.name, model] as const, ...before]) this.#models.set(name, each);
  }

  remove(name: string): void {
    this.#models.delete(name);
  }

  card(name: string): ModelCard {
    return this.#readCard(this.find(name).path);
  }

  /**
   * The name that somebody means who writes it in other letters, with a tag that says nothing, as the hub's, or with the
   * quantisation of its GGUF file; null: none is meant.
   */
  spelled(name: string): string | null {
    if (this.has(name)) return name;
    const wanted = bareName(name).toLowerCase();
    const models = [...this.#models.values()].reverse();
    const same = models.find((model) => model.name.toLowerCase() === wanted);
    if (same !== undefined) return same.name;
    const [base, tag] = splitName(wanted);
    const packed = models.filter((model) => isPacked(model) && splitName(model.name.toLowerCase())[0] === base);
    const meant = tag === null ? packed : packed.filter((model) => isQuantization(stemOf(model), tag));
    return preferred(meant, stemOf)?.name ?? null;
  }

  record(name: string): ModelRecord | null {
    const spelled = this.spelled(name);
    return this.models().find((record) => record.name === spelled) ?? null;
  }

  models(): readonly ModelRecord[] {
    return [...this.#models.values()].reverse().map(({ name, path, changed_s, bytes }) => {
      const slash = name.indexOf("/");
      const owner = slash < 0 ? "local" : name.slice(0, slash);
      const format = isPacked({ path }) ? "gguf" : "safetensors";
      return { name, created_s: changed_s, owner, bytes, format };
    });
  }

  /** Also for a model with an adapter, `model:adapter`. */
  has(name: string): boolean {
    return this.#models.has(name) || this.#adapted(name) !== null;
  }

  /** The model a request names, and its adapter: named beside it, or behind it as `model:adapter`. */
  choose(name: string, adapter: string | null): { model: CatalogModel; adapter: AdapterFiles | null } {
    const adapted = this.#models.has(name) ? null : this.#adapted(name);
    if (adapted !== null && adapter !== null && adapter !== adapted.adapter.name) {
      const state = `"model" names "${adapted.adapter.name}", found "${adapter}"`;
      throw new Failure("invalid_request", `Cannot use "adapter": ${state}`, "adapter");
    }
    return adapted ?? { model: this.find(name), adapter: adapter === null ? null : this.#findAdapter(adapter) };
  }

  find(name: string): CatalogModel {
    const model = this.#models.get(name);
    if (model !== undefined) return model;
    const known = [...this.#models.keys()].reverse().join(", ") || "none";
    throw new Failure("not_found", `Cannot use model "${name}": it is not known here; known: ${known}`, "model");
  }

  #findAdapter(name: string): AdapterFiles {
    const adapter = this.#adapters.find(name);
    if (adapter !== null) return adapter;
    const known = this.#adapters.names().join(", ") || "none";
    throw new Failure("not_found", `Cannot use adapter "${name}": it is not known here; known: ${known}`, "adapter");
  }

  /** Names of models may have colons too: the last one counts. */
  #adapted(name: string): { model: CatalogModel; adapter: AdapterFiles } | null {
    const colon = name.lastIndexOf(":");
    const model = this.#models.get(name.slice(0, Math.max(0, colon)));
    const adapter = model === undefined ? null : this.#adapters.find(name.slice(colon + 1));
    return model === undefined || adapter === null ? null : { model, adapter };
  }
}

function isPacked({ path }: Pick<CatalogModel, "path">): boolean {
  return /\.gguf$/i.test(path);
}

function stemOf({ path }: CatalogModel): string {
  return path.slice(path.lastIndexOf("/") + 1).replace(/\.gguf$/i, "");
}
