/** How a row's tokens are drawn in the end, from what several have said. Knows no request and no model. */

import { PLAIN_SAMPLING, type Sampling, type SamplingWishes } from "../core/generation.ts";

/** Of the wishes the first that says something counts; `seed` is taken when none names one. */
export function resolveSampling(wishes: readonly Partial<SamplingWishes>[], seed: number): Sampling {
  const plain: Sampling = { ...PLAIN_SAMPLING, seed };
  const pick = <Field extends keyof Sampling>(field: Field): Sampling[Field] =>
    wishes.map((wish) => wish[field] ?? null).find((said) => said !== null) ?? plain[field];
  return {
    repetition_penalty: pick("repetition_penalty"),
    frequency_penalty: pick("frequency_penalty"),
    presence_penalty: pick("presence_penalty"),
    penalty_window: pick("penalty_window"),
    logit_bias: pick("logit_bias"),
    temperature: pick("temperature"),
    top_k: pick("top_k"),
    typical_p: pick("typical_p"),
    top_p: pick("top_p"),
    min_p: pick("min_p"),
    xtc_probability: pick("xtc_probability"),
    xtc_threshold: pick("xtc_threshold"),
    seed: pick("seed"),
  };
}
