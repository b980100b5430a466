/**
 * A projection with what adapters add to some of the tokens: x·A·B (Hu et al. 2021, arXiv:2106.09685), and what they
 * take from its own result where they say how long its rows are (Liu et al. 2024, arXiv:2402.09353). Knows no file and
 * no family.
 */

import { fromBytes, type MlxArray } from "../mlx/array.ts";
import { add, astype, concatenate, gatherMm, matmul, multiply, reshape, take, zeros } from "../mlx/ops.ts";
import type { Stretch, Term } from "./adapter-terms.ts";
import { type Experts, type ExpertTarget, type Linear, linear, type NativeLinear, type Target } from "./layers.ts";
import type { AdaptedTokens, Step } from "./step.ts";

/** `x` (tokens, columns) to (tokens, rows). */
export function adapted(x: MlxArray, layer: Linear | NativeLinear, step: Step): MlxArray {
  const plain = linear(x, layer);
  return withTerms(plain, layer.target, step, ({ down, up, stretch }, pick) => {
    using own = pick(x);
    using narrow = matmul(own, down);
    if (stretch === null) return matmul(narrow, up);
    using wide = matmul(narrow, up);
    using answers = pick(plain);
    using more = stretched(answers, stretch);
    return add(wide, more);
  });
}

/** `plain` (tokens, asked, 1, rows) is what the `experts` (tokens, asked) give for `x`, and becomes the result's. */
export function adaptedExperts(
  plain: MlxArray,
  x: MlxArray,
  { expert_target }: Experts,
  experts: MlxArray,
  step: Step,
): MlxArray {
  return withTerms(plain, expert_target, step, ({ down, up }, pick) => {
    using own = pick(x);
    using asked = pick(experts);
    using narrow = gatherMm(own, down, asked);
    return gatherMm(narrow, up, asked);
  });
}

type Pick = (all: MlxArray) => MlxArray;

/** `plain` and for each adapter's tokens what `compute` gives; `pick` takes their rows of an array. */
function withTerms(
  plain: MlxArray,
  target: Target | ExpertTarget,
  step: Step,
  compute: (term: Term, pick: Pick) => MlxArray,
): MlxArray {
  const own = step.adapted.flatMap((tokens) => {
    const term = tokens.adapter.terms.get(target);
    return term === undefined ? [] : [{ tokens, term }];
  });
  if (own.length === 0) return plain;
  using given = plain;
  using stack = new DisposableStack();
  const parts = own.map(({ tokens, term }) => stack.use(compute(term, (all) => rowsOf(all, tokens))));
  using more = inOrder(
    parts,
    own.map(({ tokens }) => tokens),
    plain.shape,
  );
  using same = astype(more, given.dtype);
  return add(given, same);
}

/** What is to be added so that the rows of a projection, whose own `answers` these are, have their new lengths. */
function stretched(answers: MlxArray, { factors, offsets }: Stretch): MlxArray {
  using longer = multiply(answers, factors);
  return add(longer, offsets);
}

function rowsOf(all: MlxArray, { numbers, places }: AdaptedTokens): MlxArray {
  return places.length === all.shape[0] ? reshape(all, all.shape) : take(all, numbers, 0);
}

/** Rows that belong to the tokens, at their places; zeros between them. */
function inOrder(parts: readonly MlxArray[], tokens: readonly AdaptedTokens[], shape: readonly number[]): MlxArray {
  const [count = 0, ...rest] = shape;
  const [only, ...others] = parts;
  if (only?.shape[0] === count && others.length === 0) return reshape(only, shape);
  const places = tokens.flatMap((each) => each.places);
  const order = new Int32Array(count).fill(places.length); // the row of zeros
  for (const [row, place] of places.entries()) order[place] = row;
  using none = zeros([1, ...rest], "float32");
  using all = concatenate([...parts, none], 0);
  using numbers = fromBytes(order, [count], "int32");
  return take(all, numbers, 0);
}
