/** Gated DeltaNet (Yang et al. 2024, arXiv:2412.06464) over several sequences, with its norm and residual. Knows no family. */

import { assert } from "../core/assert.ts";
import { fromBytes, type MlxArray } from "../mlx/array.ts";
import { rmsNorm } from "../mlx/fast.ts";
import { add, astype, exp, logAddExp, multiply, reshape, sigmoid, slice, zeros } from "../mlx/ops.ts";
import { adapted } from "./adapted.ts";
import type { Attention } from "./attention.ts";
import { type Convolution, convolve } from "./convolution.ts";
import { type DeltaTokens, deltaRule } from "./delta-rule.ts";
import { activate, gated, type Linear, type Norm, normalize, times } from "./layers.ts";
import { inOwnForm } from "./projection.ts";
import type { Step } from "./step.ts";

export interface DeltaNetParts {
  readonly norm: Norm;
  readonly key_heads: number;
  /** Of values; they divide among the key heads. */
  readonly heads: number;
  readonly key_dim: number;
  readonly value_dim: number;
  /** Queries, keys and values side by side, which go through the convolution. */
  readonly qkv: Linear;
  /** As wide as the values: what comes out is gated by it. */
  readonly gate: Linear;
  /** (heads) each: how near the state is brought, and how it fades. */
  readonly rate: Linear;
  readonly decay: Linear;
  readonly convolution: Convolution;
  /** (heads) each. */
  readonly decay_log: MlxArray;
  readonly decay_bias: MlxArray;
  /** Of each head that comes out. */
  readonly out_norm: Norm;
  readonly out: Linear;
  /** The place of the state, (heads, key_dim, value_dim), among the model's. */
  readonly state: number;
}

export function deltaNet(parts: DeltaNetParts): Attention {
  const { norm, key_dim, rate, decay } = parts;
  using own = new DisposableStack();
  const [qkv, gating, out] = [parts.qkv, parts.gate, parts.out].map((each) => inOwnForm(each, own));
  assert(qkv !== undefined && gating !== undefined && out !== undefined, "three projections");
  using logarithms = astype(parts.decay_log, "float32");
  using grown = exp(logarithms);
  const speeds = own.use(times(grown, -1)); // (heads), below 0
  // A norm by the root of the sum, as a norm by that of the mean; queries are divided by the root of their size too.
  const norms = {
    queries: own.use(filled(key_dim, 1 / key_dim)),
    keys: own.use(filled(key_dim, key_dim ** -0.5)),
  };
  const owned = own.move();
  return {
    adaptable: [qkv, gating, rate, decay, out],
    apply(x, step, residual = x) {
      using normed = normalize(x, norm);
      using mixed = adapted(normed, qkv, step);
      using convolved = convolve(mixed, parts.convolution, step);
      using active = activate(convolved, "silu");
      using tokens = tokensOf(normed, active, parts, speeds, norms, step);
      using given = deltaRule(tokens, parts.state, step);
      using heads = rmsNorm(given, parts.out_norm.weight, parts.out_norm.epsilon);
      using wide = reshape(heads, [x.shape[0] ?? 0, parts.heads * parts.value_dim]);
      using same = astype(wide, x.dtype);
      using gate = adapted(normed, gating, step);
      using passed = gated(gate, same, "silu");
      using projected = adapted(passed, out, step);
      return add(residual, projected);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

// Added to the sum of squares.
const NORM_EPSILON = 1e-6;

/** All tokens' parts of the rule, in float32 as the state is. */
function tokensOf(
  normed: MlxArray,
  active: MlxArray,
  { key_heads, heads, key_dim, value_dim, rate, decay, decay_bias }: DeltaNetParts,
  speeds: MlxArray,
  norms: { readonly queries: MlxArray; readonly keys: MlxArray },
  step: Step,
): DeltaTokens & Disposable {
  const tokens = normed.shape[0] ?? 0;
  const stack = new DisposableStack();
  const columns = (first: number, count: number, dim: number) => {
    using cut = slice(active, [0, first], [tokens, first + count * dim]);
    using split = reshape(cut, [tokens, count, dim]);
    return astype(split, "float32");
  };
  const width = key_heads * key_dim;
  using queries = columns(0, key_heads, key_dim);
  using keys = columns(width, key_heads, key_dim);
  using wanted = adapted(normed, rate, step);
  using wide = astype(wanted, "float32");
  using given = adapted(normed, decay, step);
  using shifted = add(given, decay_bias);
  using nothing = zeros([1], "float32");
  using softened = logAddExp(shifted, nothing);
  return {
    queries: stack.use(rmsNorm(queries, norms.queries, NORM_EPSILON / key_dim)),
    keys: stack.use(rmsNorm(keys, norms.keys, NORM_EPSILON / key_dim)),
    values: stack.use(columns(2 * width, heads, value_dim)),
    log_decays: stack.use(multiply(softened, speeds)),
    rates: stack.use(sigmoid(wide)),
    [Symbol.dispose]: () => stack.dispose(),
  };
}

function filled(size: number, value: number): MlxArray {
  return fromBytes(new Float32Array(size).fill(value), [size], "float32");
}
