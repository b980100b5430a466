/** Which models this server answers for, and where their files lie. Loads nothing. */

import type { ModelList, ModelRecord } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";
import type { SamplingWishes } from "../core/generation.ts";

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

export class Catalog implements ModelList {
  readonly #models: Map<string, CatalogModel>;

  /** Of two models with one name the first counts. */
  constructor(models: readonly CatalogModel[]) {
    this.#models = new Map([...models].reverse().map((model) => [model.name, model]));
  }

  models(): readonly ModelRecord[] {
    return [...this.#models.values()].reverse().map(({ name, path, changed_s, bytes }) => {
      const slash = name.indexOf("/");
      const owner = slash < 0 ? "local" : name.slice(0, slash);
      const format = /\.gguf$/i.test(path) ? "gguf" : "safetensors";
      return { name, created_s: changed_s, owner, bytes, format };
    });
  }

  has(name: string): boolean {
    return this.#models.has(name);
  }

  find(name: string): CatalogModel {
    const model = this.#models.get(name);
    if (model !== undefined) return model;
    const known = [...this.#models.keys()].reverse().join(", ") || "none";
    throw new Failure("not_found", `Cannot use model "${name}": it is not known here; known: ${known}`, "model");
  }
}
