/** The feed-forward layer, gated or not, with its norms and residual. Knows no family. */

import type { MlxArray } from "../mlx/array.ts";
import { applyMlp, hasExtras, newLayer, projectionOf } from "../mlx/extras.ts";
import { adapted } from "./adapted.ts";
import {
  type Activation,
  type Adaptable,
  activate,
  close,
  formOf,
  gated,
  giveUp,
  type Linear,
  type NativeLinear,
  type Norm,
  normalize,
  rowsOf,
  weightsOf,
} from "./layers.ts";
import type { Step } from "./step.ts";

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
  readonly adaptable: readonly Adaptable[];
  /** `x` (tokens, hidden), unchanged in shape: residual + factor · post_norm(down(act(gate(norm(x))) · up(norm(x)))). */
  apply(x: MlxArray, step: Step, residual?: MlxArray): MlxArray;
}

/** In one operation where the library has it, which then keeps the projections in a form of its own; else composed. */
export function mlp(parts: MlpParts): Mlp {
  if (hasExtras()) return fused(parts);
  return {
    adaptable: projectionsOf(parts),
    apply: (x, step, residual = x) => compose(x, residual, parts, step),
    [Symbol.dispose]: () => {},
  };
}

const ACTIVATIONS: Readonly<Record<Activation, number>> = { silu: 0, gelu_tanh: 1 };

function fused(parts: MlpParts): Mlp {
  const { norm, activation, gate, up, down, post_norm, residual_factor = 1 } = parts;
  using stack = new DisposableStack();
  const own = norm?.kind === "rms" ? norm : undefined;
  const of_gate = gate === undefined ? [null, null, null, null] : weightsOf(gate);
  // in the order of native/mlp.h
  const layer = stack.use(
    newLayer("mlp", {
      weights: [own?.weight ?? null, ...of_gate, ...weightsOf(up), ...weightsOf(down), post_norm?.weight ?? null],
      numbers: [rowsOf(down), ACTIVATIONS[activation], ...formOf(gate ?? up), ...formOf(up), ...formOf(down)],
      factors: [own?.epsilon ?? post_norm?.epsilon ?? 0, residual_factor],
    }),
  );
  const alone = ({ target }: Linear, number: number): NativeLinear => {
    return { kind: "native", layer: stack.use(projectionOf(layer, number)), target };
  };
  const around = {
    ...parts,
    gate: gate === undefined ? undefined : alone(gate, 0),
    up: alone(up, 1),
    down: alone(down, 2),
  };
  giveUp(up, down, ...(gate === undefined ? [] : [gate]));
  const owned = stack.move();
  return {
    adaptable: projectionsOf(around),
    apply(x, step, residual = x) {
      if (step.adapted.length > 0) return compose(x, residual, around, step);
      using normed = norm === undefined || norm === own ? null : normalize(x, norm);
      return applyMlp(layer, normed ?? x, residual);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

interface ComposedParts extends Omit<MlpParts, "gate" | "up" | "down"> {
  readonly gate?: Linear | NativeLinear | undefined;
  readonly up: Linear | NativeLinear;
  readonly down: Linear | NativeLinear;
}

function projectionsOf({ gate, up, down }: ComposedParts): Adaptable[] {
  return [...(gate === undefined ? [] : [gate]), up, down];
}

function compose(x: MlxArray, residual: MlxArray, parts: ComposedParts, step: Step): MlxArray {
  using normed = parts.norm === undefined ? null : normalize(x, parts.norm);
  using up = adapted(normed ?? x, parts.up, step);
  using gate = parts.gate === undefined ? null : adapted(normed ?? x, parts.gate, step);
  using activated = gate === null ? activate(up, parts.activation) : gated(gate, up, parts.activation);
  using fed = adapted(activated, parts.down, step);
  return close(fed, residual, parts.post_norm, parts.residual_factor ?? 1);
}
