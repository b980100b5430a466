/** A low-rank adapter as it is named between the floors. Knows nothing of what is in its files. */

/** What the adapters of a model take. */
export interface AdapterMemory {
  readonly bytes: number;
  /** Of them those that no request uses. */
  readonly idle_bytes: number;
}

export const NO_ADAPTERS: AdapterMemory = { bytes: 0, idle_bytes: 0 };

export interface AdapterFiles {
  /** As a caller asks for it. */
  readonly name: string;
  readonly folder: string;
  /** Another one when its files have changed. */
  readonly key: string;
}
