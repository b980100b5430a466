/** What the names of this machine's models stand for: a model, or a profile on one. The one place where a name is resolved. */

import type { ModelList, ModelRecord } from "../core/backend.ts";
import type { ModelCard } from "../core/card.ts";
import { untagged } from "../core/model-names.ts";
import type { Profile } from "../core/profile.ts";

export interface Meaning {
  readonly model: string;
  readonly profile: Profile | null;
}

interface KnownModels extends ModelList {
  has(name: string): boolean;
  /** The name that is meant, however it is written; null: none is. */
  spelled(name: string): string | null;
}

export class Names implements ModelList {
  readonly #models: KnownModels;
  readonly #profiles: () => readonly Profile[];

  constructor(models: KnownModels, profiles: () => readonly Profile[]) {
    this.#models = models;
    this.#profiles = profiles;
  }

  /** A profile goes before a model that has got its name since. */
  resolve(name: string): Meaning {
    const profile = this.#profileOf(name);
    const model = profile?.model ?? name;
    return { model: this.#models.spelled(model) ?? model, profile };
  }

  #profileOf(name: string): Profile | null {
    const profiles = this.#profiles();
    const same = profiles.find((profile) => profile.name === name);
    if (same !== undefined || this.#models.has(name)) return same ?? null;
    const wanted = untagged(name).toLowerCase();
    return profiles.find((profile) => profile.name.toLowerCase() === wanted) ?? null;
  }

  record(name: string): ModelRecord | null {
    const { model, profile } = this.resolve(name);
    return this.models().find((record) => record.name === (profile?.name ?? model)) ?? null;
  }

  /** Whether it stands for a model that is there. */
  has(name: string): boolean {
    return this.#models.has(this.resolve(name).model);
  }

  card(name: string): ModelCard {
    return this.#models.card(this.resolve(name).model);
  }

  /** The models, then the profiles on them. */
  models(): readonly ModelRecord[] {
    const models = this.#models.models();
    const profiled = this.#profiles().flatMap(({ name, model }) => {
      const meant = this.#models.spelled(model);
      const record = models.find((record) => record.name === meant);
      return record === undefined ? [] : [{ ...record, name }];
    });
    const taken = new Set(profiled.map(({ name }) => name));
    return [...models.filter(({ name }) => !taken.has(name)), ...profiled];
  }
}
