/** Draws the next token of a row from its logits, on the host: the same on every device. Knows no text and no tensor. */

import type { DrawnLogprob, Sampling } from "../core/generation.ts";
import { uniform } from "../core/mix.ts";
import { bestToken, Candidates } from "./candidates.ts";
import { type ChangedRow, LogitChanges } from "./logit-changes.ts";
import { describeDraw } from "./logprobs.ts";
import type { RowGrammar } from "./row-grammar.ts";
import type { ThoughtBudget } from "./thought-budget.ts";

export interface SampledRow extends ChangedRow {
  /** How many of the likeliest tokens are told with each drawn one; null: nothing is told. */
  readonly logprobs: number | null;
}

/** What a row's text is held to. */
export interface RowText {
  readonly grammar: RowGrammar | null;
  readonly thought: ThoughtBudget | null;
}

const ANY_TEXT: RowText = { grammar: null, thought: null };

export interface Draw {
  readonly token_id: number;
  readonly logprob: DrawnLogprob | null;
}

/** Memory that all rows of a model draw in, one after another. */
export class SamplerMemory {
  readonly candidates: Candidates;
  /** A row's logits as its penalties leave them. */
  readonly changed: Float32Array;

  constructor(vocabulary_size: number) {
    this.candidates = new Candidates(vocabulary_size);
    this.changed = new Float32Array(vocabulary_size);
  }
}

/** Of one row. `step` counts its drawn tokens: the same seed draws the same at the same step, whatever runs beside it. */
export class Sampler {
  readonly #sampling: Sampling;
  readonly #logprobs: number | null;
  readonly #changes: LogitChanges;
  readonly #memory: SamplerMemory;
  readonly #grammar: RowGrammar | null;
  readonly #thought: ThoughtBudget | null;

  constructor(row: SampledRow, memory: SamplerMemory, { grammar, thought }: RowText = ANY_TEXT) {
    this.#grammar = grammar;
    this.#thought = thought;
    this.#sampling = row.sampling;
    this.#logprobs = row.logprobs;
    this.#changes = new LogitChanges(row);
    this.#memory = memory;
  }

  /** Whether the token with the best logit is all that is wanted: a device can tell it. */
  takesBest(step: number): boolean {
    if (this.#grammar !== null || (this.#thought?.forced ?? null) !== null) return false;
    return this.#isGreedy && this.#logprobs === null && !this.#changes.anyAt(step);
  }

  /** The row takes that best token. */
  take(token_id: number): Draw {
    this.#thought?.accept(token_id);
    return { token_id, logprob: null };
  }

  /** Whether the row's grammar lets nothing follow what was drawn. */
  get is_complete(): boolean {
    return this.#grammar?.is_complete ?? false;
  }

  /** How likely a token was that nobody drew. */
  describe(logits: Float32Array, token_id: number): DrawnLogprob {
    return describeDraw(logits, token_id, this.#logprobs ?? 0);
  }

  /** Throws a `Failure` when no logit is a finite number. */
  draw(logits: Float32Array, step: number): Draw {
    const token_id = this.#thought?.forced ?? this.#choose(this.#change(logits, step), step);
    this.#changes.observe(token_id);
    this.#thought?.accept(token_id);
    this.#grammar?.accept(token_id);
    return { token_id, logprob: this.#logprobs === null ? null : describeDraw(logits, token_id, this.#logprobs) };
  }

  #change(logits: Float32Array, step: number): Float32Array {
    const changes = this.#changes.anyAt(step);
    if (!changes && this.#grammar === null) return logits;
    const { changed } = this.#memory;
    changed.set(logits);
    if (changes) this.#changes.apply(changed, step);
    this.#grammar?.restrict(changed);
    return changed;
  }

  /** In llama.cpp's order, but the temperature goes first, as in Hugging Face transformers. */
  #choose(logits: Float32Array, step: number): number {
    if (this.#isGreedy) return bestToken(logits);
    const { temperature, top_k, typical_p, top_p, min_p, xtc_probability, xtc_threshold, seed } = this.#sampling;
    const { candidates } = this.#memory;
    candidates.gather(logits, temperature);
    if (top_k > 0) candidates.keepTopK(top_k);
    candidates.weigh();
    if (typical_p < 1) candidates.keepTypical(typical_p);
    if (top_p < 1) candidates.keepTopP(top_p);
    if (min_p > 0) candidates.keepMinP(min_p);
    const drops = xtc_probability > 0 && uniform(seed, CHANCES + step) < xtc_probability;
    if (drops) candidates.dropTopChoices(xtc_threshold);
    return candidates.at(uniform(seed, step));
  }

  get #isGreedy(): boolean {
    return this.#sampling.temperature < GREEDY_BELOW;
  }
}

// Logits divided by less overflow or come near it, and the best token has all the probability anyhow.
const GREEDY_BELOW = 1e-6;

/** The chance of dropping top choices has places of its own, behind those of any answer. */
const CHANCES = 2 ** 40;
