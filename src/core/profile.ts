/** A name of the owner's for a model with defaults. Knows neither where it is stored nor how it is applied. */

import type { PreloadResult } from "./owner.ts";
import type { KvBits } from "./settings.ts";

/** null: the model's own. What a request says goes before it. */
export interface ProfileWords {
  /** As a caller asks for it. */
  readonly name: string;
  /** Of this machine, and no profile itself. */
  readonly model: string;
  /** A low-rank adapter by name. */
  readonly adapter: string | null;
  /** Of a chat that brings none. */
  readonly system_prompt: string | null;
  readonly temperature: number | null;
  readonly top_p: number | null;
  readonly max_tokens: number | null;
  /** Variables of the model's chat template; those that a request names go before them one by one. */
  readonly template_options: Readonly<Record<string, unknown>>;
  /** Tokens of prompt and answer together, within what the model takes. */
  readonly context_length: number | null;
  /** In which its model keeps keys and values; all profiles of a model that say it say the same. */
  readonly kv_bits: KvBits | null;
  /** Its model is preloaded. */
  readonly auto_load: boolean;
}

/** Another name, and nothing else. */
export const PLAIN_PROFILE = {
  adapter: null,
  system_prompt: null,
  temperature: null,
  top_p: null,
  max_tokens: null,
  template_options: {},
  context_length: null,
  kv_bits: null,
  auto_load: false,
} as const satisfies Omit<ProfileWords, "name" | "model">;

export interface Profile extends ProfileWords {
  readonly id: number;
}

export interface ProfileStore {
  /** The same array until one changes; the oldest first. */
  profiles(): readonly Profile[];
  add(words: ProfileWords): Profile;
  change(id: number, words: ProfileWords): void;
  remove(id: number): void;
}

/** `preloads`: what became of the models that are to be in memory, where `auto_load` asks for it. */
export interface SavedProfile {
  readonly profile: Profile;
  readonly preloads: readonly PreloadResult[];
}

/** Throws a `Failure` for a number that no profile has, and for words that cannot hold. */
export interface ProfileDesk {
  profiles(): readonly Profile[];
  find(id: string): Profile;
  add(words: ProfileWords): Promise<SavedProfile>;
  change(id: string, words: ProfileWords): Promise<SavedProfile>;
  duplicate(id: string): Promise<SavedProfile>;
  remove(id: string): Promise<Profile>;
}
