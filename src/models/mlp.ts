/** The gated feed-forward layer (Shazeer 2020, arXiv:2002.05202) with its norms and residual. Knows no family. */

import type { MlxArray } from "../mlx/array.ts";
import { applyMlp, hasExtras, NativeLayer } from "../mlx/extras.ts";
import { rmsNorm } from "../mlx/fast.ts";
import { add } from "../mlx/ops.ts";
import { formOf, giveUp, type Linear, linear, swiglu, weightsOf } from "./layers.ts";

export interface MlpParts {
  readonly norm: MlxArray;
  readonly norm_epsilon: number;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

export interface Mlp extends Disposable {
  /** `x` (tokens, hidden), unchanged in shape: x + down(silu(gate(norm(x))) · up(norm(x))). */
  apply(x: MlxArray): MlxArray;
}

/** In one operation where the library has it, which then keeps the projections in a form of its own; else composed. */
export function mlp(parts: MlpParts): Mlp {
  return hasExtras() ? fused(parts) : { apply: (x) => compose(x, parts), [Symbol.dispose]: () => {} };
}

function fused(parts: MlpParts): Mlp {
  const { norm, gate, up, down } = parts;
  const hidden_size = norm.shape[0] ?? 0;
  const silu = 0;
  // in the order of native/mlp.h
  const layer = new NativeLayer("mlp", {
    weights: [norm, ...weightsOf(gate), ...weightsOf(up), ...weightsOf(down), null],
    numbers: [hidden_size, silu, ...formOf(gate), ...formOf(up), ...formOf(down)],
    factors: [parts.norm_epsilon, 1],
  });
  giveUp(gate, up, down);
  return { apply: (x) => applyMlp(layer, x, x), [Symbol.dispose]: () => layer[Symbol.dispose]() };
}

function compose(x: MlxArray, parts: MlpParts): MlxArray {
  using normed = rmsNorm(x, parts.norm, parts.norm_epsilon);
  using gate = linear(normed, parts.gate);
  using up = linear(normed, parts.up);
  using activated = swiglu(gate, up);
  using fed = linear(activated, parts.down);
  return add(x, fed);
}
