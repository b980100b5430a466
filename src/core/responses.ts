/** Answers that are kept, so that a caller may go on from one by its id. Knows neither their words nor where they lie. */

import { Failure } from "./failure.ts";

export interface KeptResponse {
  readonly id: string;
  /** The answer that this one went on from. */
  readonly previous_id: string | null;
  /** What came with its request alone; items of the dialect, in JSON. */
  readonly input: readonly object[];
  /** As its caller was given it. */
  readonly body: object;
}

export interface HeldResponse extends KeptResponse {
  /** Of the key that it was asked for with; null: without one, so that it is everybody's. */
  readonly key_id: number | null;
}

/** What one caller sees. */
export interface ResponseShelf {
  /** Whether the owner wants any kept. */
  readonly is_open: boolean;
  /** null: there is none, or its time is over. */
  find(id: string): KeptResponse | null;
  /** It and all that it went on from, the oldest first. Throws a `Failure` where one of them is gone. */
  talk(id: string, parameter: string): readonly KeptResponse[];
}

export interface ResponseStore extends ResponseShelf {
  find(id: string): HeldResponse | null;
  talk(id: string, parameter: string): readonly HeldResponse[];
  save(response: HeldResponse): void;
  /** By which one of them was told, each as it was sent. */
  keepEvents(id: string, events: readonly string[]): void;
  /** null: there are none. */
  eventsOf(id: string): readonly string[] | null;
  /** Whether there was one. */
  remove(id: string): boolean;
}

/** `missing`: the answer of the talk that is not there. */
export function lost(id: string, missing: string, parameter: string): Failure {
  const state = missing === id ? "it is not kept here" : `it went on from "${missing}", which is not kept any more`;
  return new Failure("not_found", `Cannot go on from response ${JSON.stringify(id)}: ${state}`, parameter);
}
