/** How likely the model itself held a drawn token, and which it held likelier. Knows no row. */

import type { DrawnLogprob, TokenLogprob } from "../core/generation.ts";
import { bestToken } from "./candidates.ts";
import { EXPONENT_MIN, exponential } from "./exponential.ts";

// What OpenAI tells of a token that cannot come; JSON has no infinity.
const LOGPROB_MIN = -9999;

/**
 * By the model's own logits, before penalties, bias and temperature, as OpenAI and vLLM tell them. `count`: how many of
 * the likeliest.
 */
export function describeDraw(logits: Float32Array, token_id: number, count: number): DrawnLogprob {
  const normalizer = logSumOfExponentials(logits);
  const tell = (id: number): TokenLogprob => {
    return { token_id: id, logprob: Math.max(LOGPROB_MIN, (logits[id] ?? 0) - normalizer) };
  };
  return { ...tell(token_id), top: likeliest(logits, count).map(tell) };
}

function logSumOfExponentials(logits: Float32Array): number {
  const best = logits[bestToken(logits)] ?? 0;
  let sum = 0;
  for (let id = 0; id < logits.length; id++) {
    const distance = (logits[id] ?? 0) - best;
    if (distance >= EXPONENT_MIN) sum += exponential(distance);
  }
  return best + Math.log(sum);
}

/** The best first; of equal ones the one with the lower id. */
function likeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  if (count === 0) return best;
  let bar = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] ?? 0;
    if (!(logit > bar)) continue;
    const behind = best.findIndex((other) => logit > (logits[other] ?? 0));
    best.splice(behind < 0 ? best.length : behind, 0, id);
    if (best.length > count) best.pop();
    if (best.length === count) bar = logits[best.at(-1) ?? 0] ?? 0;
  }
  return best;
}
