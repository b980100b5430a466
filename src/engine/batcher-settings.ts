/** What bounds the batcher's steps and its cache. */

import type { StateSettings } from "./recurrence.ts";
import type { WindowSettings } from "./row-windows.ts";

export interface BatcherSettings {
  readonly blocks_max: number;
  /** Blocks kept for what they contain while no row holds them. */
  readonly cached_blocks_max: number;
  /** Rows that step together; the others wait. */
  readonly rows_max: number;
  /** How long a step may take while rows decode: prompts get what that leaves. */
  readonly decode_gap_ms_target: number;
  /** Prompt tokens in a step while no row decodes. */
  readonly chunk_tokens_max: number;
  /** Blocks that the tier fills, or is given, in a step while rows decode. */
  readonly restored_blocks_max: number;
  /** Tokens guessed for a row in one step; 0: none. */
  readonly draft_tokens_max: number;
  /** Of the layers that see a window; absent: none do. */
  readonly windows?: WindowSettings | undefined;
  /** Of recurrent layers; absent: there are none. */
  readonly states?: StateSettings | undefined;
}
