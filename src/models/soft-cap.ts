/** Attention whose scores are capped by a tanh before the softmax, which no fused operation of mlx-c does. Knows no family. */

import { type MlxArray, scalar } from "../mlx/array.ts";
import { astype, matmul, reshape, softmax, transpose, where } from "../mlx/ops.ts";
import { softCap, times } from "./layers.ts";

/**
 * `queries` (1, heads, length, head_dim) over `keys` and `values` (1, kv_heads, total, head_dim); `seen` (length,
 * total) of bools.
 */
export function attendCapped(
  queries: MlxArray,
  keys: MlxArray,
  values: MlxArray,
  scale: number,
  cap: number,
  seen: MlxArray,
): MlxArray {
  const [, heads = 0, length = 0, head_dim = 0] = queries.shape;
  const [, kv_heads = 0, total = 0] = keys.shape;
  using scaled = times(queries, scale);
  using groups = reshape(scaled, [kv_heads, heads / kv_heads, length, head_dim]);
  using turned = transpose(keys, [1, 0, 3, 2]);
  using products = matmul(groups, turned);
  using capped = softCap(products, cap);
  using lowest = scalar(Number.NEGATIVE_INFINITY);
  using unseen = astype(lowest, capped.dtype);
  using scores = where(seen, capped, unseen);
  using shares = softmax(scores, -1);
  using each = reshape(values, [kv_heads, 1, total, head_dim]);
  using mixed = matmul(shares, each);
  return reshape(mixed, [1, heads, length, head_dim]);
}
