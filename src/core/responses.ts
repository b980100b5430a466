/** Answers that are kept, so that a caller may go on from one by its id. Knows neither their words nor where they lie. */

export interface KeptResponse {
  readonly id: string;
  /** The answer that this one went on from. */
  readonly previous_id: string | null;
  /** What came with its request alone; items of the dialect, in JSON. */
  readonly input: readonly object[];
  /** As its caller was given it. */
  readonly body: object;
}

export interface ResponseShelf {
  /** Whether the owner wants any kept. */
  readonly is_open: boolean;
  save(response: KeptResponse): void;
  /** By which one of them was told, each as it was sent. */
  keepEvents(id: string, events: readonly string[]): void;
  /** null: there are none. */
  eventsOf(id: string): readonly string[] | null;
  /** null: there is none, or its time is over. */
  find(id: string): KeptResponse | null;
  /** It and all that it went on from, the oldest first. Throws a `Failure` where one of them is gone. */
  talk(id: string, parameter: string): readonly KeptResponse[];
  /** Whether there was one. */
  remove(id: string): boolean;
}
