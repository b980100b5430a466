/** What one forward pass is to do, in integers. Knows not how it was decided. */

import { PREDICTED_TOKENS_MAX } from "../core/settings.ts";
import type { StateMove } from "../models/step.ts";
import type { StepLoad } from "./step-cost.ts";

/** Tokens of one row that go through the model in this step. */
export interface Part {
  readonly id: number;
  readonly token_ids: readonly number[];
  /** Position of the first of them. */
  readonly start: number;
  /** The row's block table, up to the end of these tokens. */
  readonly blocks: readonly number[];
  /** The same in slots of the layers that see a window, for models that have such layers. */
  readonly slots?: readonly number[] | undefined;
  /** How many of the last positions' logits are wanted: 0, or 1 and one for each draft. */
  readonly outputs: number;
  /** Where the row's recurrent layers step from and to, for models that have such layers. */
  readonly state?: StateMove | undefined;
  /** Prompt tokens whose likelihood is wanted: they stand behind the positions from `from` on. Absent: none is. */
  readonly scored?: { readonly from: number; readonly token_ids: readonly number[] } | undefined;
}

/** One forward pass: first the copies, in their order, then all parts together. Each part is committed, or its row leaves. */
export interface Plan extends StepLoad {
  readonly parts: readonly Part[];
  /** From block to block: a row goes on in a copy of what another may still write to. */
  readonly copies: readonly Copy[];
}

export interface Copy {
  readonly id: number;
  readonly from: number;
  readonly to: number;
  /** The same in slots. */
  readonly slots?: { readonly from: number; readonly to: number } | undefined;
}

/** One that is being made. */
export interface OpenPlan extends Plan {
  readonly parts: Part[];
  readonly copies: Copy[];
  decode_rows: number;
  extra_tokens: number;
  /** Drafts that rows with a prediction may still have in the step. */
  predicted_room: number;
  restored_blocks: number;
  scored_tokens: number;
}

export function openPlan(): OpenPlan {
  return {
    parts: [],
    copies: [],
    decode_rows: 0,
    extra_tokens: 0,
    predicted_room: PREDICTED_TOKENS_MAX,
    restored_blocks: 0,
    scored_tokens: 0,
  };
}
