/** What a row changes in its logits before a draw: penalties, bias, and tokens it must not draw yet. Knows no model. */

import { BIAS_BAN, BIAS_FORCE, type Sampling } from "../core/generation.ts";

export interface ChangedRow {
  readonly sampling: Sampling;
  readonly prompt_ids: readonly number[];
  /** No stop token is drawn before so many others. */
  readonly tokens_min: number;
  readonly stop_token_ids: readonly number[];
}

export class LogitChanges {
  readonly #row: ChangedRow;
  readonly #penalises: boolean;
  /** How often a token was drawn; those of the prompt are there when repetition counts. */
  readonly #drawn: Map<number, number>;

  constructor(row: ChangedRow) {
    const { repetition_penalty, frequency_penalty, presence_penalty } = row.sampling;
    this.#row = row;
    this.#penalises = repetition_penalty !== 1 || frequency_penalty !== 0 || presence_penalty !== 0;
    this.#drawn = new Map(repetition_penalty === 1 ? [] : row.prompt_ids.map((id) => [id, 0]));
  }

  /** `step` counts the row's drawn tokens. */
  anyAt(step: number): boolean {
    const { sampling, tokens_min } = this.#row;
    return this.#penalises || sampling.logit_bias.length > 0 || step < tokens_min;
  }

  observe(token: number): void {
    if (this.#penalises) this.#drawn.set(token, (this.#drawn.get(token) ?? 0) + 1);
  }

  apply(logits: Float32Array, step: number): void {
    const { sampling, tokens_min, stop_token_ids } = this.#row;
    this.#penalise(logits);
    addBias(logits, sampling.logit_bias);
    if (step < tokens_min) for (const id of stop_token_ids) logits[id] = Number.NEGATIVE_INFINITY;
  }

  /** Repetition as in CTRL (Keskar et al. 2019, arXiv:1909.05858), the others as OpenAI defines them. */
  #penalise(logits: Float32Array): void {
    const { repetition_penalty, frequency_penalty, presence_penalty } = this.#row.sampling;
    for (const [id, times] of this.#drawn) {
      const logit = logits[id] ?? 0;
      const repeated = logit > 0 ? logit / repetition_penalty : logit * repetition_penalty;
      logits[id] = times === 0 ? repeated : repeated - frequency_penalty * times - presence_penalty;
    }
  }
}

function addBias(logits: Float32Array, biases: Sampling["logit_bias"]): void {
  for (const { token_id, bias } of biases) {
    logits[token_id] = bias === BIAS_BAN ? Number.NEGATIVE_INFINITY : (logits[token_id] ?? 0) + bias;
  }
  const forced = biases.filter(({ bias }) => bias === BIAS_FORCE).map((each) => [each.token_id, logits[each.token_id]]);
  if (forced.length === 0) return;
  logits.fill(Number.NEGATIVE_INFINITY);
  for (const [id = 0, logit = 0] of forced) logits[id] = logit;
}
