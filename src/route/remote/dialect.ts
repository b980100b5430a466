/** How a provider's protocol is spoken. Each protocol is one file. */

import type { Endpoint } from "../../core/exchange.ts";
import type { GenerationEvent, GenerationRequest } from "../../core/generation.ts";

export interface Dialect {
  /** Below the provider's base URL; what is missing it does not have. */
  readonly paths: Readonly<Partial<Record<Endpoint, string>>>;
  /** `key`: null where the provider needs none. */
  headers(key: string | null): Readonly<Record<string, string>>;
  /** A neutral request, to be answered as a stream. Throws a `Failure` for a wish that the protocol has no words for. */
  write(request: GenerationRequest, model: string): { readonly path: string; readonly body: object };
  /** Reads the answer to it. */
  reader(): EventReader;
}

export interface EventReader {
  /** `data` of one event of the stream. Throws a `Failure` where it tells of one, or makes no sense. */
  read(data: string): readonly GenerationEvent[];
  /** The stream has ended: what it has left unsaid. */
  end(): readonly GenerationEvent[];
}
