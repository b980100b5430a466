/** What can answer a request: this machine's engine today. */

import type { WindowUnits } from "./cache-shares.ts";
import type { ModelCard } from "./card.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "./encoding.ts";
import type { GenerationEvent, GenerationRequest } from "./generation.ts";
import type { Purpose } from "./purpose.ts";

export interface Backend {
  /** Ends with one terminal event or throws a `Failure`; aborting `signal` or returning early frees everything it holds. */
  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent>;
  embed(request: EmbedRequest, signal: AbortSignal): Promise<Embeddings>;
  rerank(request: RerankRequest, signal: AbortSignal): Promise<Scores>;
  /** The tokens of the prompt, as the usage of an answer to it would say. */
  count(request: GenerationRequest, signal: AbortSignal): Promise<number>;
}

/** A model as it is shown to a caller. */
export interface ModelRecord {
  readonly name: string;
  /** Seconds since the epoch: when its file was last changed. */
  readonly created_s: number;
  /** The organisation in a repository name, else "local". */
  readonly owner: string;
  /** Of its files of weights. */
  readonly bytes: number;
  readonly format: "gguf" | "safetensors";
}

export interface ModelList {
  models(): readonly ModelRecord[];
  /** By its name, however that is written; null: there is none. */
  record(name: string): ModelRecord | null;
  /** Throws a `Failure` when its files cannot be read. */
  card(name: string): ModelCard;
}

/** What a model will take, as far as the headers of its files tell. */
export interface ModelEstimate {
  readonly purpose: Purpose["kind"];
  readonly weights_bytes: number;
  /** Keys, values and states of as many rows as may run, each with a full context, within what the owner allows. */
  readonly kv_bytes_max: number;
  /** Those without which it is of no use. */
  readonly kv_bytes_min: number;
  /** What its largest step takes beside. */
  readonly step_bytes: number;
  /** Tokens that it reads, however much memory there is. */
  readonly context_length: number;
  /** Keys and values are held in blocks. */
  readonly kv_block_tokens: number;
  readonly kv_block_bytes: number;
  /** What layers that see a window keep beside; null: there are none. */
  readonly kv_windows: WindowUnits | null;
  /** What recurrent layers keep of one sequence; 0: there are none. */
  readonly kv_state_bytes: number;
  /** Sequences that may run at once. */
  readonly rows_max: number;
}

/** A model the engine holds in memory. */
export interface LoadedModel {
  readonly model: string;
  readonly context_length: number;
  readonly vocabulary_size: number;
  readonly bytes_resident: number;
}
