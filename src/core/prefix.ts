/** Why a prompt was, or was not, found in the prefix cache. Knows no blocks and no wire format. */

import type { GenerationRequest } from "./generation.ts";

/** In tokens, as an engine tells it. */
export interface PrefixMatch {
  /** Tokens that need not be computed again: in whole blocks, from memory or from disk. */
  readonly matched_tokens: number;
  /** Where the nearest text in memory departs from the prompt; null when none goes on from the matched tokens. */
  readonly departure: {
    readonly position: number;
    /** The block of that text, which begins where the prompt's own does. */
    readonly cached_token_ids: readonly number[];
  } | null;
}

/** In words, as a caller reads it. */
export interface PrefixExplanation {
  readonly prompt_tokens: number;
  readonly matched_tokens: number;
  readonly departure: {
    readonly position: number;
    /** Some tokens before the position, and some from it on. */
    readonly prompt: Around;
    readonly cached: Around;
  } | null;
}

export interface Around {
  readonly token_id: number | null;
  readonly text_before: string;
  readonly text_after: string;
}

export interface PrefixCache {
  explain(request: GenerationRequest, signal: AbortSignal): Promise<PrefixExplanation>;
}
