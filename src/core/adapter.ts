/** A low-rank adapter as it is named between the floors. Knows nothing of what is in its files. */

export interface AdapterFiles {
  /** As a caller asks for it. */
  readonly name: string;
  readonly folder: string;
  /** Another one when its files have changed. */
  readonly key: string;
}
