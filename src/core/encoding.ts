/** Texts made into numbers: a vector of one, or a score of two. Knows no wire format and no tokenizer. */

export interface EmbedRequest {
  readonly request_id: string;
  readonly model: string;
  /** Each a text or the ids of its tokens, which are taken as they are. */
  readonly inputs: readonly (string | readonly number[])[];
  /** Which of the model's prompts stands before each text; null: the one that its files choose, if any. */
  readonly prompt_name: string | null;
  /** null: as many as the model gives. */
  readonly dimensions: number | null;
  /** Of an input; null: as many as the model reads. */
  readonly tokens_max: number | null;
  /** An input beyond what is read is cut to that; else it is refused. */
  readonly truncate: boolean;
  /** As of a generation. */
  readonly keep_s: number | null;
  /** Whom the caller asks for, in its own words; for a provider that wants to know. */
  readonly user: string | null;
}

export interface Embeddings {
  /** One for each input, in order. */
  readonly vectors: readonly Float32Array[];
  /** That were read. */
  readonly prompt_tokens: number;
  /** Until the model was in memory; absent where nobody measured. */
  readonly load_ms?: number;
}

export interface RerankRequest {
  readonly request_id: string;
  readonly model: string;
  /** A query and what may answer it; what does not fit the model is cut from the longer one. */
  readonly pairs: readonly (readonly [string, string])[];
}

export interface Scores {
  /** One for each pair, in order. */
  readonly scores: readonly number[];
  /** That were read. */
  readonly prompt_tokens: number;
}

/** A text as an engine reads it. */
export interface EncoderText {
  readonly token_ids: readonly number[];
  /** The tokens from here on are of a second text. */
  readonly second_at: number;
}
