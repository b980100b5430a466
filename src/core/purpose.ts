/** What a model is for, as its files say. */

export type Pooling = "cls" | "max" | "mean" | "mean_sqrt" | "weighted_mean" | "last";

export interface EmbeddingPurpose {
  readonly kind: "embedding";
  /** What becomes of the tokens' vectors; of several the results lie side by side. */
  readonly pooling: readonly Pooling[];
  readonly normalize: boolean;
  /** Numbers in a vector. */
  readonly width: number;
  /** The lengths a vector may be cut to beside its own. */
  readonly dimensions: "any" | readonly number[];
  /** Before every text where a request names none. */
  readonly prompt: string;
  /** What a request may name. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly reading: Reading;
}

export interface RerankerPurpose {
  readonly kind: "reranker";
  readonly score:
    | { readonly from: "classifier" }
    /** The logit of one token above that of another, after a prompt of the model's own. */
    | { readonly from: "tokens"; readonly yes_id: number; readonly no_id: number | null; readonly prompt: PairPrompt };
  readonly activation: "sigmoid" | "identity";
  readonly reading: Reading;
}

/** `template`: the chat template, with a query and a document for roles; `qwen`: the words that model was trained with. */
export type PairPrompt = "template" | "qwen";

/** How texts are read. */
export interface Reading {
  /** A longer text is cut; null: as long as the model takes. */
  readonly tokens_max: number | null;
  readonly lowercase: boolean;
}

/** A model that reads texts and answers none. */
export type ReadingPurpose = EmbeddingPurpose | RerankerPurpose;

export type Purpose = { readonly kind: "chat" } | ReadingPurpose;
