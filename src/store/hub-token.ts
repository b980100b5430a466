/** The token that the hub is asked with, which only ever lies here sealed. */

import { Type } from "@sinclair/typebox";
import type { SealedHolder, SealedText } from "./rotation.ts";
import type { Opened, Sealing } from "./sealing.ts";
import type { StoredSettings } from "./settings.ts";

const KEY = "huggingface_token";
// No provider has a name with a colon.
const ABOUT = "setting:huggingface_token";

export class StoredHubToken implements SealedHolder {
  readonly #settings: StoredSettings;
  readonly #sealing: Sealing;

  constructor(settings: StoredSettings, sealing: Sealing) {
    this.#settings = settings;
    this.#sealing = sealing;
  }

  /** "lost": there is one that cannot be opened any more; null: there is none. */
  async read(): Promise<{ readonly opened: Opened } | null> {
    const [found] = this.sealed();
    return found === undefined ? null : { opened: await this.#sealing.open(found.sealed, ABOUT) };
  }

  async write(token: string | null): Promise<void> {
    if (token === null) this.#settings.remove(KEY);
    else this.#settings.write(KEY, Type.String(), await this.#sealing.seal(token, ABOUT));
  }

  sealed(): readonly SealedText[] {
    const sealed = this.#settings.read(KEY, Type.String());
    return sealed === null ? [] : [{ about: ABOUT, sealed }];
  }

  replace({ sealed }: SealedText, after: string): void {
    if (this.sealed()[0]?.sealed === sealed) this.#settings.write(KEY, Type.String(), after);
  }
}
