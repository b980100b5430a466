/** What steps have cost, and so how much may go into the next one. Knows durations, not clocks. */

import { BLOCK_TOKENS } from "../models/block.ts";

/** What a step carried, as far as its duration goes. */
export interface StepLoad {
  /** Rows whose last token went through. */
  readonly decode_rows: number;
  /** Tokens beside those: of prompts and of drafts. */
  readonly extra_tokens: number;
}

/** Prompts move on by as much whatever the target. A pass of fewer tokens costs hardly less. */
export const CHUNK_TOKENS_MIN = BLOCK_TOKENS / 2;

const CHUNK_TOKENS_AT_FIRST = 2 * BLOCK_TOKENS;
const WEIGHT_MAX = 0.5;
const SURE_TOKENS = 128; // a step with fewer extra tokens says less of what one costs

export class StepCost {
  readonly #decode_gap_ms_target: number;
  readonly #chunk_tokens_max: number;
  #decode_ms: number | null = null;
  #token_ms: number | null = null;

  constructor(decode_gap_ms_target: number, chunk_tokens_max: number) {
    this.#decode_gap_ms_target = decode_gap_ms_target;
    this.#chunk_tokens_max = chunk_tokens_max;
  }

  observe({ decode_rows, extra_tokens }: StepLoad, duration_ms: number): void {
    if (extra_tokens === 0) {
      this.#decode_ms = blend(this.#decode_ms, duration_ms, WEIGHT_MAX);
      return;
    }
    const decode_ms = decode_rows === 0 ? 0 : (this.#decode_ms ?? 0);
    const token_ms = Math.max(0, duration_ms - decode_ms) / extra_tokens;
    this.#token_ms = blend(this.#token_ms, token_ms, Math.min(WEIGHT_MAX, extra_tokens / SURE_TOKENS));
  }

  /** Prompt tokens for a step. */
  chunkTokens(decoding: boolean): number {
    if (!decoding) return this.#chunk_tokens_max;
    const left_ms = this.#decode_gap_ms_target - (this.#decode_ms ?? 0);
    const fitting = this.#token_ms === null ? CHUNK_TOKENS_AT_FIRST : Math.floor(left_ms / this.#token_ms);
    return Math.max(CHUNK_TOKENS_MIN, Math.min(fitting, this.#chunk_tokens_max));
  }

  /**
   * The share of drafted tokens that must be right. A draft costs every decoding row the time of its tokens: R rows
   * give R tokens in D ms, with d drafts of c ms each R + a·d tokens in D + d·c ms, which is faster when a > R·c / D.
   */
  acceptanceMin(decode_rows: number): number {
    if (this.#decode_ms === null || this.#token_ms === null) return Number.POSITIVE_INFINITY;
    return (decode_rows * this.#token_ms) / this.#decode_ms;
  }
}

function blend(known: number | null, newest: number, weight: number): number {
  return known === null ? newest : known + weight * (newest - known);
}
