/** A request as its caller wrote it, and the answer of whoever took it. Knows no HTTP and no field of any dialect. */

import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "./encoding.ts";
import type { GenerationEvent, GenerationRequest, Usage } from "./generation.ts";
import type { Price } from "./prices.ts";

/** Whose wire format a body is in. A provider of the same protocol is given the body as it came. */
export type Protocol = "openai" | "anthropic" | "ollama";

export type Endpoint =
  | "chat"
  | "completions"
  | "generate"
  | "responses"
  | "input_tokens"
  | "messages"
  | "count_tokens"
  | "embeddings"
  | "rerank"
  | "score";

/** Of one request, answered together. */
export type Generations = readonly [GenerationRequest, ...GenerationRequest[]];

/** What a request means, whoever wrote it. */
export type Neutral =
  | { readonly kind: "generation"; readonly generations: Generations }
  | { readonly kind: "embedding"; readonly request: EmbedRequest }
  | { readonly kind: "rerank"; readonly request: RerankRequest }
  /** How many tokens its prompt is. */
  | { readonly kind: "count"; readonly request: GenerationRequest };

export interface Call {
  readonly request_id: string;
  readonly protocol: Protocol;
  readonly endpoint: Endpoint;
  readonly model: string;
  /** JSON, as it came. */
  readonly body: string;
  /** Whether the body says all that is asked; what is kept here of the talk before, no other server has. */
  readonly is_whole: boolean;
  readonly stream: boolean;
  /** Headers that belong to the protocol, such as its version. */
  readonly headers: Readonly<Record<string, string>>;
  /** Who said that this must not leave the machine, in words; null: nobody. */
  readonly local_only: string | null;
  /** The same in neutral form. Throws a `Failure` where it says what the neutral form has no words for. */
  neutral(): Neutral;
}

export interface CountedUsage extends Omit<Usage, "cached_tokens"> {
  /** null where nobody said. */
  readonly cached_tokens: number | null;
}

/** In the caller's own protocol as the provider wrote it, or in neutral form. */
export type Reply =
  | { readonly kind: "events"; readonly events: Flow<GenerationEvent> }
  | { readonly kind: "embeddings"; readonly embeddings: Embeddings }
  | { readonly kind: "scores"; readonly scores: Scores }
  | { readonly kind: "count"; readonly prompt_tokens: number }
  | { readonly kind: "body"; readonly status: number; readonly headers: Headers; readonly body: Uint8Array }
  | { readonly kind: "stream"; readonly headers: Headers; readonly pieces: Flow<Uint8Array> };

/** `return` frees what it holds, also before the first `next`. */
export interface Flow<Item> {
  next(): Promise<IteratorResult<Item, void>>;
  return(): Promise<IteratorResult<Item, void>>;
}

type Headers = Readonly<Record<string, string>>;

/** Filled in as a request goes its way, so that it tells the truth wherever that ends. */
export interface Trace {
  backend: string | null;
  model_served: string | null;
  route_reason: string | null;
  left_machine: boolean;
  /** Of its tokens; null: none is set. */
  price: Price | null;
  /** Lines of the prompt that its model was not given as they came. */
  steadied_lines: number;
  /** As the caller saw it. */
  usage: CountedUsage | null;
  /** What a provider's own words in its answer say went wrong. */
  error_type: string | null;
}

export interface Gateway {
  /** Settles once an answer has begun, or throws: until then another backend may be tried, from then on none. */
  open(call: Call, trace: Trace, signal: AbortSignal): Promise<Reply>;
}

export function newTrace(): Trace {
  return {
    backend: null,
    model_served: null,
    route_reason: null,
    left_machine: false,
    price: null,
    steadied_lines: 0,
    usage: null,
    error_type: null,
  };
}
