/** A causal convolution of each channel by itself, over several sequences; what it keeps of each are its last inputs. Knows no family. */

import { assert } from "../core/assert.ts";
import { inRows, type MlxArray } from "../mlx/array.ts";
import { applyConvolution, hasExtras } from "../mlx/extras.ts";
import { add, astype, concatenate, multiply, slice, zeros } from "../mlx/ops.ts";
import type { Span, Step } from "./step.ts";

// As many as the library's operation takes; models have 3 or 4.
export const TAPS_MAX = 32;

export interface Convolution {
  /** (taps, channels), the last one for the token itself. */
  readonly taps: MlxArray;
  readonly bias: MlxArray | null;
  /** The place of what it keeps, (taps - 1, channels), among the model's states. */
  readonly state: number;
}

/** `x` (tokens, channels), unchanged in shape. In one operation where the library has it. */
export function convolve(x: MlxArray, how: Convolution, step: Step): MlxArray {
  if (!hasExtras()) return compose(x, how, step);
  const [y, ...kept] = applyConvolution(x, how.taps, how.bias, step.sequences(how.state));
  assert(y !== undefined, "what comes out is given first");
  step.keepAll(how.state, kept);
  return y;
}

function compose(x: MlxArray, how: Convolution, step: Step): MlxArray {
  using stack = new DisposableStack();
  const parts = step.spans.map((span) => stack.use(convolveSpan(x, span, how, step)));
  const joined = concatenate(parts, 0);
  if (how.bias === null) return joined;
  using unbiased = joined;
  return add(unbiased, how.bias);
}

function convolveSpan(x: MlxArray, span: Span, { taps, state }: Convolution, step: Step): MlxArray {
  const { first, count } = span;
  const [length = 0, channels = 0] = taps.shape;
  using own = slice(x, [first, 0], [first + count, channels]);
  using before = inputsBefore(step, span, state, [length - 1, channels], x);
  using all = concatenate([before, own], 0);
  using last = slice(all, [count, 0], [count + length - 1, channels]);
  step.keep(span, state, inRows(last));
  let total = tapped(all, taps, 0, count);
  for (let tap = 1; tap < length; tap++) {
    using so_far = total;
    using more = tapped(all, taps, tap, count);
    total = add(so_far, more);
  }
  return total;
}

function inputsBefore(step: Step, span: Span, state: number, shape: readonly number[], x: MlxArray): MlxArray {
  const kept = step.state(span, state);
  return kept === null ? zeros(shape, x.dtype) : astype(kept, x.dtype);
}

function tapped(all: MlxArray, taps: MlxArray, tap: number, count: number): MlxArray {
  const channels = taps.shape[1] ?? 0;
  using inputs = slice(all, [tap, 0], [tap + count, channels]);
  using weight = slice(taps, [tap, 0], [tap + 1, channels]);
  return multiply(inputs, weight);
}
