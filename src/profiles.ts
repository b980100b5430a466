/** What the owner does with profiles while the server runs: checked, stored, and in effect when it answers. */

import { Failure } from "./core/failure.ts";
import type { PreloadResult } from "./core/owner.ts";
import type { Profile, ProfileDesk, ProfileStore, ProfileWords, SavedProfile } from "./core/profile.ts";
import type { KvBits } from "./core/settings.ts";
import type { Catalog } from "./schedule/catalog.ts";

/** Who keeps models in memory. */
interface Keeper {
  preload(): Promise<readonly PreloadResult[]>;
  letGo(model: string): void;
  /** Loads it anew, with what it is told to keep now. */
  renew(model: string): Promise<void>;
}

/** What profiles may be of. */
type Models = Pick<Catalog, "has" | "choose">;

export class Profiles implements ProfileDesk {
  readonly #store: ProfileStore;
  readonly #models: Models;
  readonly #keeper: Keeper;

  constructor(store: ProfileStore, models: Models, keeper: Keeper) {
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
    const profile = await this.#renewing([words.model], () => this.#store.add(words));
    return await this.#saved(profile);
  }

  async change(id: string, words: ProfileWords): Promise<SavedProfile> {
    const before = this.find(id);
    this.#check(words, before);
    await this.#renewing([before.model, words.model], () => this.#store.change(before.id, words));
    if (before.auto_load) this.#keeper.letGo(before.model);
    return await this.#saved({ ...words, id: before.id });
  }

  async duplicate(id: string): Promise<SavedProfile> {
    const { id: _, ...words } = this.find(id);
    return await this.add({ ...words, name: this.#freeName(words.name) });
  }

  async remove(id: string): Promise<Profile> {
    const profile = this.find(id);
    await this.#renewing([profile.model], () => this.#store.remove(profile.id));
    if (profile.auto_load) this.#keeper.letGo(profile.model);
    return profile;
  }

  async #saved(profile: Profile): Promise<SavedProfile> {
    return { profile, preloads: profile.auto_load ? await this.#keeper.preload() : [] };
  }

  /** Acts, and has models loaded anew that are now to keep keys and values in other bits. */
  async #renewing<Result>(models: readonly string[], act: () => Result): Promise<Result> {
    const bitsOf = (model: string) => wantedKvBits(this.#pathOf(model), this.profiles(), this.#models);
    const before = new Map(models.map((model) => [model, bitsOf(model)]));
    const result = act();
    for (const [model, bits] of before) if (bitsOf(model) !== bits) await this.#keeper.renew(model);
    return result;
  }

  #pathOf(model: string): string | null {
    return this.#models.has(model) ? this.#models.choose(model, null).model.path : null;
  }

  #checkBits({ model, kv_bits }: ProfileWords, before: Profile | null): void {
    if (kv_bits === null) return;
    const others = this.profiles().filter((profile) => profile.id !== before?.id);
    const wanted = wantedKvBits(this.#pathOf(model), others, this.#models) ?? kv_bits;
    if (wanted === kv_bits) return;
    const state = `another profile of the model says ${wanted}, found ${kv_bits}`;
    throw new Failure("invalid_request", `Cannot use "kv_bits": ${state}`, "kv_bits");
  }

  #check(words: ProfileWords, before: Profile | null): void {
    const { name, model, adapter } = words;
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
    if (taken !== null) {
      throw new Failure("invalid_request", `Cannot use "name": ${taken} has the name "${name}"`, "name");
    }
    this.#checkBits(words, before);
  }

  #freeName(name: string): string {
    const isFree = (name: string) => !this.#models.has(name) && this.profiles().every((other) => other.name !== name);
    for (let copy = 2; ; copy++) {
      const wanted = `${name}-${copy}`;
      if (isFree(wanted)) return wanted;
    }
  }
}

/** In which the model at `path` is to keep keys and values; null: no profile says it. */
export function wantedKvBits(path: string | null, profiles: readonly Profile[], models: Models): KvBits | null {
  const isThere = (model: string) => models.has(model) && models.choose(model, null).model.path === path;
  return profiles.find(({ kv_bits, model }) => kv_bits !== null && isThere(model))?.kv_bits ?? null;
}
