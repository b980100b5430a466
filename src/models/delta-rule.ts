/** The gated delta rule (Yang et al. 2024, arXiv:2412.06464): a state that is brought nearer to what each token holds. Knows no family. */

import { assert } from "../core/assert.ts";
import { fromBytes, type MlxArray } from "../mlx/array.ts";
import { applyDeltaRule, hasExtras } from "../mlx/extras.ts";
import { add, concatenate, exp, matmul, minimum, multiply, reshape, slice, transpose, zeros } from "../mlx/ops.ts";
import { times } from "./layers.ts";
import type { Span, Step } from "./step.ts";

// As much as the library's operation takes; models have 128.
export const KEY_DIM_MAX = 1024;

/** Float32. */
export interface DeltaTokens {
  /** Both (tokens, key_heads, key_dim). */
  readonly queries: MlxArray;
  readonly keys: MlxArray;
  /** (tokens, heads, value_dim) */
  readonly values: MlxArray;
  /** Both (tokens, heads): how the state fades, up to 0; and how near it is brought. */
  readonly log_decays: MlxArray;
  readonly rates: MlxArray;
}

// Tokens whose changes of the state are solved for together.
const PIECE = 32;

/**
 * What the states give for each query: (tokens, heads, value_dim). That of each sequence, (heads, key_dim, value_dim), is at place
 * `state` among the model's. In one operation where the library has it.
 */
export function deltaRule(tokens: DeltaTokens, state: number, step: Step): MlxArray {
  if (hasExtras()) {
    const { queries, keys, values, log_decays, rates } = tokens;
    const [given, ...kept] = applyDeltaRule(queries, keys, values, log_decays, rates, step.sequences(state));
    assert(given !== undefined, "what comes out is given first");
    step.keepAll(state, kept);
    return given;
  }
  using stack = new DisposableStack();
  return concatenate(
    step.spans.flatMap((span) => alongSpan(tokens, span, state, step).map((given) => stack.use(given))),
    0,
  );
}

/** Piece by piece from what its sequence keeps. */
function alongSpan(tokens: DeltaTokens, span: Span, place: number, step: Step): MlxArray[] {
  const [, heads = 0, value_dim = 0] = tokens.values.shape;
  const [, key_heads = 0, key_dim = 0] = tokens.keys.shape;
  const folded = [key_heads, heads / key_heads, key_dim, value_dim];
  const before = step.state(span, place);
  let state = before === null ? zeros(folded, "float32") : reshape(before, folded);
  const given: MlxArray[] = [];
  for (let done = 0; done < span.count; done += PIECE) {
    const count = Math.min(PIECE, span.count - done);
    using state_before = state;
    using own = pieceOf(tokens, span.first + done, count);
    const solved = solve(own, state_before);
    state = solved.after;
    using by_head = solved.given;
    using flat = reshape(by_head, [heads, count, value_dim]);
    given.push(transpose(flat, [1, 0, 2]));
  }
  using after = state;
  step.keep(span, place, reshape(after, [heads, key_dim, value_dim]));
  return given;
}

/** A piece by heads, those of values as (key_heads, heads / key_heads, …). */
function pieceOf(tokens: DeltaTokens, first: number, count: number): DeltaTokens & Disposable {
  const [, heads = 0, value_dim = 0] = tokens.values.shape;
  const [, key_heads = 0, key_dim = 0] = tokens.keys.shape;
  const group = heads / key_heads;
  const stack = new DisposableStack();
  const cut = (x: MlxArray, shape: readonly number[]) => {
    const [, ...rest] = x.shape;
    using some = slice(x, [first, ...rest.map(() => 0)], [first + count, ...rest]);
    using turned = transpose(some, rest.length === 2 ? [1, 0, 2] : [1, 0]);
    return stack.use(reshape(turned, shape));
  };
  return {
    queries: cut(tokens.queries, [key_heads, 1, count, key_dim]),
    keys: cut(tokens.keys, [key_heads, 1, count, key_dim]),
    values: cut(tokens.values, [key_heads, group, count, value_dim]),
    log_decays: cut(tokens.log_decays, [key_heads, group, count, 1]),
    rates: cut(tokens.rates, [key_heads, group, count, 1]),
    [Symbol.dispose]: () => stack.dispose(),
  };
}

/**
 * What token t changes of the state depends on what those before it did: (I + A) · changes = rates · (values - held), where A
 * holds how much of each earlier token's change is still seen by the later one's key.
 */
function solve({ queries, keys, values, log_decays, rates }: DeltaTokens, state: MlxArray) {
  const count = keys.shape[2] ?? 0;
  using up_to = lower(count, (row, column) => column <= row);
  using earlier = lower(count, (row, column) => column < row);
  using faded = matmul(up_to, log_decays); // since the state before, (…, count, 1)
  using decays = exp(faded);
  using between = fading(faded, up_to);
  using keys_turned = transpose(keys, [0, 1, 3, 2]);

  using alike = matmul(keys, keys_turned);
  using seen = multiply(alike, between);
  using seen_earlier = multiply(seen, earlier);
  using system = multiply(seen_earlier, rates);
  using solution = inverse(system, count);

  using recalled = matmul(keys, state);
  using held = multiply(recalled, decays);
  using missing = minus(values, held);
  using wanted = multiply(missing, rates);
  using changes = matmul(solution, wanted);

  using asked = matmul(queries, state);
  using from_before = multiply(asked, decays);
  using matches = matmul(queries, keys_turned);
  using shares = multiply(matches, between);
  using from_piece = matmul(shares, changes);

  using last = slice(faded, [0, 0, count - 1, 0], [...faded.shape.slice(0, 2), count, 1]);
  using kept = exp(last);
  using state_kept = multiply(state, kept);
  using still = minus(last, faded);
  using fresh = exp(still);
  using added = multiply(changes, fresh);
  using more = matmul(keys_turned, added);
  return { given: add(from_before, from_piece), after: add(state_kept, more) };
}

/** How much of what came at one token (column) is left at a later one (row). */
function fading(faded: MlxArray, up_to: MlxArray): MlxArray {
  using columns = transpose(faded, [0, 1, 3, 2]);
  using differences = minus(faded, columns);
  using nothing = zeros([1], "float32");
  using bounded = minimum(differences, nothing); // above the diagonal it would grow beyond all bounds
  using left = exp(bounded);
  return multiply(left, up_to);
}

/**
 * (I + A)⁻¹ for A below the diagonal. Blocks of the diagonal are inverted, then pairs of them: nothing grows on the way that
 * would have to cancel out, as the powers of A would for keys that are all alike.
 */
function inverse(a: MlxArray, count: number): MlxArray {
  let result = lower(count, (row, column) => row === column);
  for (let size = 1; size < count; size *= 2) {
    using so_far = result;
    using corner = lower(count, (row, column) => {
      const [row_block, column_block] = [Math.floor(row / size), Math.floor(column / size)];
      return row_block % 2 === 1 && column_block === row_block - 1;
    });
    using below = multiply(a, corner);
    using left = matmul(so_far, below);
    using change = matmul(left, so_far);
    result = minus(so_far, change);
  }
  return result;
}

function minus(a: MlxArray, b: MlxArray): MlxArray {
  using negative = times(b, -1);
  return add(a, negative);
}

/** Ones and zeros, (count, count). */
function lower(count: number, isOne: (row: number, column: number) => boolean): MlxArray {
  const values = Float32Array.from({ length: count * count }, (_, at) => {
    return isOne(Math.floor(at / count), at % count) ? 1 : 0;
  });
  return fromBytes(values, [count, count], "float32");
}
