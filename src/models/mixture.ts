/** A feed-forward layer of many experts of which each token asks a few (Shazeer et al. 2017, arXiv:1701.06538). Knows no family. */

import type { MlxArray } from "../mlx/array.ts";
import {
  add,
  argpartition,
  divide,
  gatherMm,
  gatherQmm,
  multiply,
  reshape,
  sigmoid,
  slice,
  softmax,
  sum,
  take,
  takeAlong,
} from "../mlx/ops.ts";
import { adapted, adaptedExperts } from "./adapted.ts";
import { type Adaptable, type Experts, gated, type Linear, type Norm, normalize, plus, times } from "./layers.ts";
import type { Mlp } from "./mlp.ts";
import type { Step } from "./step.ts";

export interface MixtureParts {
  readonly norm: Norm;
  /** A score for each expert. */
  readonly router: Linear;
  /** How many experts a token asks. */
  readonly asked: number;
  /** How scores become shares: by a softmax over the asked ones, which are then one together, or over all; or each by a sigmoid. */
  readonly shares: "softmax_asked" | "softmax_all" | SigmoidShares;
  readonly gate: Experts;
  readonly up: Experts;
  readonly down: Experts;
  /** (…, inner) of both; silu(gate) · up where absent. */
  readonly activate?: ((gate: MlxArray, up: MlxArray) => MlxArray) | undefined;
  /** One that every token asks; how much of it a sigmoid says. */
  readonly shared?: SharedExpert | undefined;
}

export interface SigmoidShares {
  /** (count): added for the choice alone. */
  readonly choice_bias: MlxArray | null;
  /** Whether they are divided by what they are together. */
  readonly divided: boolean;
  readonly factor: number;
}

export interface SharedExpert {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
  /** One row. */
  readonly share: Linear;
}

export function mixture(parts: MixtureParts): Mlp {
  return {
    adaptable: adaptableOf(parts),
    apply(x, step, residual = x) {
      using normed = normalize(x, parts.norm);
      using mixed = mix(normed, parts, step);
      if (parts.shared === undefined) return add(residual, mixed);
      using shared = askShared(normed, parts.shared, step);
      using both = add(mixed, shared);
      return add(residual, both);
    },
    [Symbol.dispose]: () => {},
  };
}

function adaptableOf({ router, gate, up, down, shared }: MixtureParts): Adaptable[] {
  return [router, gate, up, down, ...(shared === undefined ? [] : [shared.gate, shared.up, shared.down, shared.share])];
}

function mix(x: MlxArray, parts: MixtureParts, step: Step): MlxArray {
  const [tokens = 0, hidden_size = 0] = x.shape;
  const { asked, activate = (gate, up) => gated(gate, up, "silu") } = parts;
  using route = routeOf(x, parts, step);
  using alone = reshape(x, [tokens, 1, 1, hidden_size]);
  using gate = ask(alone, parts.gate, route.experts, step);
  using up = ask(alone, parts.up, route.experts, step);
  using activated = activate(gate, up);
  using answers = ask(activated, parts.down, route.experts, step);
  using shares = reshape(route.shares, [tokens, asked, 1, 1]);
  using weighted = multiply(answers, shares);
  using summed = sum(weighted, 1);
  return reshape(summed, [tokens, hidden_size]);
}

/** Which experts each token asks, and how much each counts: (tokens, asked) of both. */
function routeOf(x: MlxArray, { router, asked, shares }: MixtureParts, step: Step) {
  using scores = adapted(x, router, step);
  if (typeof shares === "object") return routeBySigmoid(scores, asked, shares);
  const experts = greatest(scores, asked);
  if (shares === "softmax_all") {
    using all = softmax(scores, -1);
    return routed(experts, takeAlong(all, experts, -1));
  }
  using own = takeAlong(scores, experts, -1);
  return routed(experts, softmax(own, -1));
}

function routeBySigmoid(scores: MlxArray, asked: number, { choice_bias, divided, factor }: SigmoidShares) {
  using all = sigmoid(scores);
  using chosen_by = choice_bias === null ? null : add(all, choice_bias);
  const experts = greatest(chosen_by ?? all, asked);
  using own = takeAlong(all, experts, -1);
  if (!divided) return routed(experts, times(own, factor));
  using total = sum(own, 1);
  using divisor = plus(total, DIVISOR_EPSILON);
  using parts = divide(own, divisor);
  return routed(experts, times(parts, factor));
}

// So that a token for which no expert is of use divides by something.
const DIVISOR_EPSILON = 1e-6;

/** The numbers of the `asked` greatest, in no order: (tokens, asked). */
function greatest(scores: MlxArray, asked: number): MlxArray {
  const [tokens = 0, count = 0] = scores.shape;
  using order = argpartition(scores, asked);
  return slice(order, [0, count - asked], [tokens, count]);
}

function routed(experts: MlxArray, shares: MlxArray) {
  return {
    experts,
    shares,
    [Symbol.dispose]() {
      experts[Symbol.dispose]();
      shares[Symbol.dispose]();
    },
  };
}

/** `x` (tokens, 1 or asked, 1, columns) by the experts of each token: (tokens, asked, 1, rows). */
function ask(x: MlxArray, all: Experts, experts: MlxArray, step: Step): MlxArray {
  return adaptedExperts(plainAnswers(x, all, experts), x, all, experts, step);
}

function plainAnswers(x: MlxArray, all: Experts, experts: MlxArray): MlxArray {
  if (all.bias === null) return product(x, all, experts);
  using y = product(x, all, experts);
  using biases = take(all.bias, experts, 0);
  using each = reshape(biases, y.shape);
  return add(y, each);
}

function product(x: MlxArray, all: Experts, experts: MlxArray): MlxArray {
  return all.kind === "dense"
    ? gatherMm(x, all.turned, experts)
    : gatherQmm(x, all.weight, all.scales, all.biases, experts, all.how);
}

function askShared(x: MlxArray, { gate, up, down, share }: SharedExpert, step: Step): MlxArray {
  using gates = adapted(x, gate, step);
  using ups = adapted(x, up, step);
  using activated = gated(gates, ups, "silu");
  using answer = adapted(activated, down, step);
  using wanted = adapted(x, share, step);
  using part = sigmoid(wanted);
  return multiply(answer, part);
}
