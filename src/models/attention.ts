/** Self-attention of many sequences at once over a paged cache, with its norms and residual. Knows no family. */

import { evaluate, fromBytes, type MlxArray } from "../mlx/array.ts";
import { applyAttention, hasExtras, NativeLayer } from "../mlx/extras.ts";
import { attend, rmsNorm } from "../mlx/fast.ts";
import { add, concatenate, reshape, slice, sliceUpdate, take, transpose } from "../mlx/ops.ts";
import { BLOCK_TOKENS } from "./block.ts";
import { formOf, giveUp, type Linear, linear, weightsOf } from "./layers.ts";
import { type Rope, rotate } from "./rope.ts";
import type { LayerCache, Span, Step } from "./step.ts";

export interface AttentionParts {
  /** Which of the cache's layers is its own. */
  readonly layer: number;
  readonly norm: MlxArray;
  readonly norm_epsilon: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  /** Scores are multiplied by this. */
  readonly scale: number;
  readonly rope: Rope;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
}

export interface Attention extends Disposable {
  /** `x` (tokens, hidden), unchanged in shape: x + o(attend(norm(x))). Keeps the tokens' keys and values in the step's cache. */
  apply(x: MlxArray, step: Step): MlxArray;
}

/** In one operation where the library has it, which then keeps the projections in a form of its own; else composed. */
export function attention(parts: AttentionParts): Attention {
  return hasExtras() ? fused(parts) : { apply: (x, step) => compose(x, parts, step), [Symbol.dispose]: () => {} };
}

function fused(parts: AttentionParts): Attention {
  const { norm, q, k, v, o, rope } = parts;
  const [no_window, no_soft_cap, residual] = [0, 0, 1];
  // in the order of native/attention.h
  const layer = new NativeLayer("attention", {
    weights: [norm, ...weightsOf(q), ...weightsOf(k), ...weightsOf(v), ...weightsOf(o), null, null, null, null],
    numbers: [
      ...[norm.shape[0] ?? 0, parts.heads, parts.kv_heads, parts.head_dim, rope.dims, 0, no_window],
      ...[...formOf(q), ...formOf(k), ...formOf(v), ...formOf(o)],
    ],
    factors: [parts.norm_epsilon, parts.scale, no_soft_cap, residual],
  });
  giveUp(q, k, v, o);
  return {
    apply: (x, step) => applyAttention(layer, x, x, step.cache(parts.layer), step.layout, step.angles(rope)),
    [Symbol.dispose]: () => layer[Symbol.dispose](),
  };
}

function compose(x: MlxArray, parts: AttentionParts, step: Step): MlxArray {
  using normed = rmsNorm(x, parts.norm, parts.norm_epsilon);
  using queries = linear(normed, parts.q);
  using keys = linear(normed, parts.k);
  using values = linear(normed, parts.v);
  using stack = new DisposableStack();
  const cache = step.cache(parts.layer);
  const mixed = step.spans.map((span) => stack.use(attendSpan(queries, keys, values, span, parts, cache)));
  using joined = concatenate(mixed, 0);
  using projected = linear(joined, parts.o);
  return add(x, projected);
}

/** One span's part: (count, heads · head_dim). */
function attendSpan(
  all_queries: MlxArray,
  all_keys: MlxArray,
  all_values: MlxArray,
  span: Span,
  { heads, kv_heads, head_dim, rope, scale }: AttentionParts,
  cache: LayerCache,
): MlxArray {
  using query_heads = headsOf(all_queries, span, heads, head_dim);
  using key_heads = headsOf(all_keys, span, kv_heads, head_dim);
  using new_values = headsOf(all_values, span, kv_heads, head_dim);
  using queries = rotate(query_heads, rope, span.start);
  using new_keys = rotate(key_heads, rope, span.start);
  write(cache, new_keys, new_values, span);
  using keys = read(cache.keys, span, [1, 0, 3, 2]);
  using values = read(cache.values, span, [1, 0, 2, 3]);
  using mixed = attend(queries, keys, values, scale, span.count === 1 ? "none" : "causal");
  using by_position = transpose(mixed, [0, 2, 1, 3]);
  return reshape(by_position, [span.count, heads * head_dim]);
}

/** A span of (tokens, heads · head_dim) as (1, heads, count, head_dim). */
function headsOf(x: MlxArray, { first, count }: Span, heads: number, head_dim: number): MlxArray {
  using rows = slice(x, [first, 0], [first + count, heads * head_dim]);
  using split = reshape(rows, [1, count, heads, head_dim]);
  return transpose(split, [0, 2, 1, 3]);
}

/** Puts (1, kv_heads, count, head_dim) into the span's blocks, block by block. */
function write(cache: LayerCache, keys: MlxArray, values: MlxArray, { start, count, blocks }: Span): void {
  const [, kv_heads = 0, , head_dim = 0] = keys.shape;
  using turned = transpose(keys, [0, 1, 3, 2]);
  for (let done = 0; done < count; ) {
    const slot = (start + done) % BLOCK_TOKENS;
    const block = blocks[Math.floor((start + done) / BLOCK_TOKENS)] ?? 0;
    const some = Math.min(BLOCK_TOKENS - slot, count - done);
    using new_keys = slice(turned, [0, 0, 0, done], [1, kv_heads, head_dim, done + some]);
    using new_values = slice(values, [0, 0, done, 0], [1, kv_heads, done + some, head_dim]);
    using keys_before = cache.keys;
    using values_before = cache.values;
    cache.keys = sliceUpdate(keys_before, new_keys, [block, 0, 0, slot], [block + 1, kv_heads, head_dim, slot + some]);
    cache.values = sliceUpdate(
      values_before,
      new_values,
      [block, 0, slot, 0],
      [block + 1, kv_heads, slot + some, head_dim],
    );
    done += some;
  }
  // Written now, in place: a read that waits beside a later write would make MLX copy the whole pool.
  evaluate(cache.keys, cache.values);
}

/** The span's sequence up to its end: (1, kv_heads, start + count, head_dim); `axes` bring a block to (kv_heads, 1, 32, head_dim). */
function read(pool: MlxArray, { start, count, blocks }: Span, axes: readonly number[]): MlxArray {
  using numbers = fromBytes(Int32Array.from(blocks), [blocks.length], "int32");
  using taken = take(pool, numbers, 0);
  using ordered = transpose(taken, axes);
  const [kv_heads = 0, , , head_dim = 0] = ordered.shape;
  using joined = reshape(ordered, [1, kv_heads, blocks.length * BLOCK_TOKENS, head_dim]);
  return slice(joined, [0, 0, 0, 0], [1, kv_heads, start + count, head_dim]);
}
