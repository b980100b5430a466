/** What one caller has to do with the kept answers: those of other callers' keys are not there. Knows not what they say. */

import type { ApiKey } from "../core/api-keys.ts";
import {
  type HeldResponse,
  type KeptResponse,
  lost,
  type ResponseShelf,
  type ResponseStore,
} from "../core/responses.ts";

export class CallersShelf implements ResponseShelf {
  readonly #store: ResponseStore;
  readonly #caller: ApiKey | null;
  readonly #standing: (response: KeptResponse) => KeptResponse;

  /** `standing`: an answer as it is by now. */
  constructor(store: ResponseStore, caller: ApiKey | null, standing: (response: KeptResponse) => KeptResponse) {
    this.#store = store;
    this.#caller = caller;
    this.#standing = standing;
  }

  get is_open(): boolean {
    return this.#store.is_open;
  }

  save(response: KeptResponse): void {
    this.#store.save({ ...response, key_id: this.#caller?.id ?? null });
  }

  find(id: string): KeptResponse | null {
    const found = this.#store.find(id);
    return found !== null && this.#isSeen(found) ? found : null;
  }

  talk(id: string, parameter: string): readonly KeptResponse[] {
    const talk = this.#store.talk(id, parameter);
    const hidden = talk.findLast((response) => !this.#isSeen(response));
    if (hidden !== undefined) throw lost(id, hidden.id, parameter);
    return talk.map(this.#standing);
  }

  /** Who needs no key may do all that an administrator may. */
  #isSeen({ key_id }: HeldResponse): boolean {
    return key_id === null || this.#caller === null || this.#caller.admin || this.#caller.id === key_id;
  }
}
