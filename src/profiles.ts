/** What the owner does with profiles while the server runs: checked, stored, and in effect when it answers. */

import { Failure } from "./core/failure.ts";
import type { PreloadResult } from "./core/owner.ts";
import type { Profile, ProfileDesk, ProfileStore, ProfileWords, SavedProfile } from "./core/profile.ts";

/** Who keeps models in memory. */
interface Keeper {
  preload(): Promise<readonly PreloadResult[]>;
  letGo(model: string): void;
}

export class Profiles implements ProfileDesk {
  readonly #store: ProfileStore;
  readonly #models: { has(name: string): boolean };
  readonly #keeper: Keeper;

  constructor(store: ProfileStore, models: { has(name: string): boolean }, keeper: Keeper) {
    this.#store = store;
    this.#models = models;
    this.#keeper = keeper;
  }

  profiles(): readonly Profile[] {
    return this.#store.profiles();
  }

  find(id: string): Profile {
    const profile = this.profiles().find((profile) => String(profile.id) === id);
    if (profile !== undefined) return profile;
    throw new Failure("not_found", `Cannot find profile ${id}: there is none of that number`, "id");
  }

  async add(words: ProfileWords): Promise<SavedProfile> {
    this.#check(words, null);
    return await this.#saved(this.#store.add(words));
  }

  async change(id: string, words: ProfileWords): Promise<SavedProfile> {
    const before = this.find(id);
    this.#check(words, before);
    this.#store.change(before.id, words);
    if (before.auto_load) this.#keeper.letGo(before.model);
    return await this.#saved({ ...words, id: before.id });
  }

  async duplicate(id: string): Promise<SavedProfile> {
    const { id: _, ...words } = this.find(id);
    return await this.add({ ...words, name: this.#freeName(words.name) });
  }

  async remove(id: string): Promise<Profile> {
    const profile = this.find(id);
    this.#store.remove(profile.id);
    if (profile.auto_load) this.#keeper.letGo(profile.model);
    return profile;
  }

  async #saved(profile: Profile): Promise<SavedProfile> {
    return { profile, preloads: profile.auto_load ? await this.#keeper.preload() : [] };
  }

  #check({ name, model, adapter }: ProfileWords, before: Profile | null): void {
    if (!this.#models.has(model)) {
      throw new Failure("invalid_request", `Cannot use "model": "${model}" is no model of this machine`, "model");
    }
    if (adapter !== null && !this.#models.has(`${model}:${adapter}`)) {
      throw new Failure("invalid_request", `Cannot use "adapter": there is none named "${adapter}"`, "adapter");
    }
    const taken = this.#models.has(name)
      ? "a model"
      : this.profiles().some((profile) => profile.name === name && profile.id !== before?.id)
        ? "a profile"
        : null;
    if (taken === null) return;
    throw new Failure("invalid_request", `Cannot use "name": ${taken} has the name "${name}"`, "name");
  }

  #freeName(name: string): string {
    const isFree = (name: string) => !this.#models.has(name) && this.profiles().every((other) => other.name !== name);
    for (let copy = 2; ; copy++) {
      const wanted = `${name}-${copy}`;
      if (isFree(wanted)) return wanted;
    }
  }
}
