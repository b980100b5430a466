/**
 * A projection with what adapters add to some of the tokens: x·A·B (Hu et al. 2021, arXiv:2106.09685). Knows no file
 * and no family.
 */

import { fromBytes, type MlxArray } from "../mlx/array.ts";
import { add, astype, concatenate, matmul, take, zeros } from "../mlx/ops.ts";
import type { LowRank } from "./adapter.ts";
import { type Linear, linear, type NativeLinear } from "./layers.ts";
import type { AdaptedTokens, Step } from "./step.ts";

/** `x` (tokens, columns) to (tokens, rows). */
export function adapted(x: MlxArray, layer: Linear | NativeLinear, step: Step): MlxArray {
  const own = step.adapted.flatMap((tokens) => {
    const term = tokens.adapter.terms.get(layer.target);
    return term === undefined ? [] : [{ tokens, term }];
  });
  const plain = linear(x, layer);
  if (own.length === 0) return plain;
  using given = plain;
  using stack = new DisposableStack();
  const parts = own.map(({ tokens, term }) => stack.use(lowRank(x, tokens, term)));
  using more = inOrder(
    parts,
    own.map(({ tokens }) => tokens.places),
    plain.shape,
  );
  using same = astype(more, given.dtype);
  return add(given, same);
}

function lowRank(x: MlxArray, { numbers, places }: AdaptedTokens, { down, up }: LowRank): MlxArray {
  using some = places.length === x.shape[0] ? null : take(x, numbers, 0);
  using narrow = matmul(some ?? x, down);
  return matmul(narrow, up);
}

/** Rows that belong to `places`, at those places; zeros between them. */
function inOrder(
  parts: readonly MlxArray[],
  places: readonly (readonly number[])[],
  shape: readonly number[],
): MlxArray {
  const [tokens = 0, width = 0] = shape;
  const order = new Int32Array(tokens).fill(places.flat().length); // the row of zeros
  for (const [row, place] of places.flat().entries()) order[place] = row;
  using none = zeros([1, width], "float32");
  using all = concatenate([...parts, none], 0);
  using numbers = fromBytes(order, [tokens], "int32");
  return take(all, numbers, 0);
}
