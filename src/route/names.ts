/** What the names of this machine's models stand for: a model, or a profile on one. The one place where a name is resolved. */

import type { ModelList, ModelRecord } from "../core/backend.ts";
import type { ModelCard } from "../core/card.ts";
import type { Profile } from "../core/profile.ts";

export interface Meaning {
  readonly model: string;
  readonly profile: Profile | null;
}

interface KnownModels extends ModelList {
  has(name: string): boolean;
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
    const profile = this.#profiles().find((profile) => profile.name === name) ?? null;
    return { model: profile?.model ?? name, profile };
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
      const record = models.find((record) => record.name === model);
      return record === undefined ? [] : [{ ...record, name }];
    });
    const taken = new Set(profiled.map(({ name }) => name));
    return [...models.filter(({ name }) => !taken.has(name)), ...profiled];
  }
}
