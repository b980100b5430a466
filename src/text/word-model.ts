/** What makes tokens of a word: a vocabulary and the rule by which a word falls into its texts. */

export interface WordModel {
  readonly ids: ReadonlyMap<string, number>;
  /** By id, with holes. */
  readonly texts: readonly string[];
  /** What stands for text without a token. */
  readonly unknown: string | null;
  readonly unknown_id: number | null;
  /** No word is long to it. */
  readonly bounds_words: boolean;
  /** The word without what the original drops before it looks further. */
  known(word: string): string;
  tokens(word: string): readonly string[];
}
