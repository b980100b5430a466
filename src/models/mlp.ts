/** The feed-forward layer, gated or not, with its norms and residual. Knows no family. */

import type { MlxArray } from "../mlx/array.ts";
import { applyMlp, hasExtras, NativeLayer } from "../mlx/extras.ts";
import {
  type Activation,
  activate,
  close,
  formOf,
  gated,
  giveUp,
  type Linear,
  linear,
  type Norm,
  normalize,
  rowsOf,
  weightsOf,
} from "./layers.ts";

export interface MlpParts {
  /** Absent where `x` comes normed. */
  readonly norm?: Norm | undefined;
  readonly activation: Activation;
  /** Absent: what is activated is `up` itself. */
  readonly gate?: Linear | undefined;
  readonly up: Linear;
  readonly down: Linear;
  /** Of what comes out, before it is added. */
  readonly post_norm?: Norm | undefined;
  readonly residual_factor?: number | undefined;
}

export interface Mlp extends Disposable {
  /** `x` (tokens, hidden), unchanged in shape: residual + factor · post_norm(down(act(gate(norm(x))) · up(norm(x)))). */
  apply(x: MlxArray, residual?: MlxArray): MlxArray;
}

/** In one operation where the library has it, which then keeps the projections in a form of its own; else composed. */
export function mlp(parts: MlpParts): Mlp {
  if (hasExtras()) return fused(parts);
  return { apply: (x, residual = x) => compose(x, residual, parts), [Symbol.dispose]: () => {} };
}

const ACTIVATIONS: Readonly<Record<Activation, number>> = { silu: 0, gelu_tanh: 1 };

function fused({ norm, activation, gate, up, down, post_norm, residual_factor = 1 }: MlpParts): Mlp {
  const own = norm?.kind === "rms" ? norm : undefined;
  const of_gate = gate === undefined ? [null, null, null, null] : weightsOf(gate);
  // in the order of native/mlp.h
  const layer = new NativeLayer("mlp", {
    weights: [own?.weight ?? null, ...of_gate, ...weightsOf(up), ...weightsOf(down), post_norm?.weight ?? null],
    numbers: [rowsOf(down), ACTIVATIONS[activation], ...formOf(gate ?? up), ...formOf(up), ...formOf(down)],
    factors: [own?.epsilon ?? post_norm?.epsilon ?? 0, residual_factor],
  });
  giveUp(up, down, ...(gate === undefined ? [] : [gate]));
  return {
    apply(x, residual = x) {
      using normed = norm === undefined || norm === own ? null : normalize(x, norm);
      return applyMlp(layer, normed ?? x, residual);
    },
    [Symbol.dispose]: () => layer[Symbol.dispose](),
  };
}

function compose(x: MlxArray, residual: MlxArray, parts: MlpParts): MlxArray {
  using normed = parts.norm === undefined ? null : normalize(x, parts.norm);
  using up = linear(normed ?? x, parts.up);
  using gate = parts.gate === undefined ? null : linear(normed ?? x, parts.gate);
  using activated = gate === null ? activate(up, parts.activation) : gated(gate, up, parts.activation);
  using fed = linear(activated, parts.down);
  return close(fed, residual, parts.post_norm, parts.residual_factor ?? 1);
}
