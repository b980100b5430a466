/** What a row changes in its logits before a draw: penalties, bias, and tokens it must not draw yet. Knows no model. */

import { BIAS_BAN, BIAS_FORCE, type Sampling } from "../core/generation.ts";

export interface ChangedRow {
  readonly sampling: Sampling;
  readonly prompt_ids: readonly number[];
  /** No stop token is drawn before so many others. */
  readonly tokens_min: number;
  readonly stop_token_ids: readonly number[];
}

interface Seen {
  readonly all: number;
  /** How many of them are the answer's. */
  readonly drawn: number;
}

export class LogitChanges {
  readonly #row: ChangedRow;
  readonly #penalises: boolean;
  /** Prompt and answer. The prompt is left out when only what was drawn counts. */
  readonly #tokens: number[];
  readonly #prompt_tokens: number;
  /** How often the tokens of the window are there. */
  readonly #seen = new Map<number, Seen>();

  constructor(row: ChangedRow) {
    const { repetition_penalty, frequency_penalty, presence_penalty } = row.sampling;
    this.#row = row;
    this.#penalises = repetition_penalty !== 1 || frequency_penalty !== 0 || presence_penalty !== 0;
    this.#tokens = repetition_penalty === 1 ? [] : [...row.prompt_ids];
    this.#prompt_tokens = this.#tokens.length;
    const first = Math.max(0, this.#prompt_tokens - row.sampling.penalty_window);
    for (let place = first; place < this.#prompt_tokens; place++) this.#count(place, 1);
  }

  /** `step` counts the row's drawn tokens. */
  anyAt(step: number): boolean {
    const { sampling, tokens_min } = this.#row;
    return this.#penalises || sampling.logit_bias.length > 0 || step < tokens_min;
  }

  observe(token: number): void {
    if (!this.#penalises) return;
    const place = this.#tokens.push(token) - 1;
    this.#count(place, 1);
    this.#count(place - this.#row.sampling.penalty_window, -1);
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
    for (const [id, { drawn }] of this.#seen) {
      const logit = logits[id] ?? 0;
      const repeated = logit > 0 ? logit / repetition_penalty : logit * repetition_penalty;
      logits[id] = drawn === 0 ? repeated : repeated - frequency_penalty * drawn - presence_penalty;
    }
  }

  /** Adds the token at a place to what is seen, or takes it from there. */
  #count(place: number, times: 1 | -1): void {
    const id = this.#tokens[place];
    if (id === undefined) return; // the window is not full yet
    const { all, drawn } = this.#seen.get(id) ?? { all: 0, drawn: 0 };
    if (all + times === 0) this.#seen.delete(id);
    else this.#seen.set(id, { all: all + times, drawn: drawn + (place < this.#prompt_tokens ? 0 : times) });
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
