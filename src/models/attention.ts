/** Self-attention of many sequences at once over a paged cache, with its norms and residual. Knows no family. */

import { assert } from "../core/assert.ts";
import { evaluate, fromBytes, type MlxArray } from "../mlx/array.ts";
import { applyAttention, hasExtras, mixAttention, type NativeLayer, newLayer, projectionOf } from "../mlx/extras.ts";
import { attend, type Mask } from "../mlx/fast.ts";
import { concatenate, multiply, reshape, sigmoid, slice, sliceUpdate, take, transpose } from "../mlx/ops.ts";
import { adapted } from "./adapted.ts";
import { BLOCK_TOKENS } from "./block.ts";
import {
  type Adaptable,
  close,
  formOf,
  giveUp,
  type Linear,
  type NativeLinear,
  type Norm,
  normalize,
  rowsOf,
  weightsOf,
} from "./layers.ts";
import { isPacked, unpackBlocks, writePacked } from "./packed-cache.ts";
import { inOwnForm } from "./projection.ts";
import { type Rope, rotate } from "./rope.ts";
import { attendCapped } from "./soft-cap.ts";
import type { LayerCache, Span, Step } from "./step.ts";

export interface AttentionParts {
  /** Which of the cache's layers is its own. */
  readonly layer: number;
  /** Absent where `x` comes normed. */
  readonly norm?: Norm | undefined;
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
  /** Of each head, or of all heads together where its weight is as long. */
  readonly q_norm?: Norm | undefined;
  readonly k_norm?: Norm | undefined;
  /** How many positions a query sees, its own the last; all where absent. */
  readonly window?: number | undefined;
  /** Scores are kept below this by a tanh. */
  readonly soft_cap?: number | undefined;
  /** A score of each head (heads) that takes its share of the softmax and gives nothing. */
  readonly sinks?: MlxArray | undefined;
  /** As wide as the queries: a sigmoid of it says how much of what was attended counts. */
  readonly gate?: Linear | undefined;
  /** Of what comes out, before it is added. */
  readonly post_norm?: Norm | undefined;
  readonly residual_factor?: number | undefined;
}

export interface Attention extends Disposable {
  readonly adaptable: readonly Adaptable[];
  readonly window?: number | undefined;
  /**
   * `x` (tokens, hidden), unchanged in shape: residual + factor · post_norm(o(attend(norm(x)))). Keeps the tokens' keys
   * and values in the step's cache.
   */
  apply(x: MlxArray, step: Step, residual?: MlxArray): MlxArray;
}

/** In one operation where the library has it, which then keeps the projections in a form of its own; else composed. */
export function attention(parts: AttentionParts): Attention {
  if (hasExtras()) return fused(parts);
  const { q, k, v, o, gate, window } = parts;
  return {
    adaptable: [q, k, v, o, ...(gate ? [gate] : [])],
    window,
    apply: (x, step, residual = x) => compose(x, residual, parts, step),
    [Symbol.dispose]: () => {},
  };
}

function fused(parts: AttentionParts): Attention {
  const { norm, q, k, v, o, rope, q_norm, k_norm, post_norm } = parts;
  const own = norm?.kind === "rms" ? norm : undefined;
  const norms = [q_norm, k_norm].map((each) => each?.weight ?? null);
  // in the order of native/attention.h
  using stack = new DisposableStack();
  const layer = stack.use(
    newLayer("attention", {
      weights: [
        ...[own?.weight ?? null, ...weightsOf(q), ...weightsOf(k), ...weightsOf(v), ...weightsOf(o)],
        ...[...norms, parts.sinks ?? null, post_norm?.weight ?? null],
      ],
      numbers: [
        ...[rowsOf(o), parts.heads, parts.kv_heads, parts.head_dim, rope.dims],
        ...[rope.pairs === "neighbours" ? 1 : 0, parts.window ?? 0],
        ...[...formOf(q), ...formOf(k), ...formOf(v), ...formOf(o)],
      ],
      factors: [
        ...[(own ?? q_norm ?? k_norm ?? post_norm)?.epsilon ?? 0, parts.scale],
        ...[parts.soft_cap ?? 0, parts.residual_factor ?? 1],
      ],
    }),
  );
  const alone = [q, k, v, o].map(({ target }, number): NativeLinear => {
    return { kind: "native", layer: stack.use(projectionOf(layer, number)), target };
  });
  giveUp(q, k, v, o);
  const gate = parts.gate && inOwnForm(parts.gate, stack);
  const owned = stack.move();
  return {
    adaptable: [...alone, ...(gate ? [gate] : [])],
    window: parts.window,
    apply(x, step, residual = x) {
      if (step.adapted.length > 0 || gate) return fusedAround(x, residual, parts, layer, alone, step, gate);
      using normed = norm === undefined || norm === own ? null : normalize(x, norm);
      const cache = step.cache(parts.layer);
      return applyAttention(layer, normed ?? x, residual, cache, layoutOf(parts, step), step.angles(rope));
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** The same with room for what adapters add to each of the projections, q, k, v and o, and for a gate. */
function fusedAround(
  x: MlxArray,
  residual: MlxArray,
  parts: AttentionParts,
  layer: NativeLayer,
  alone: readonly NativeLinear[],
  step: Step,
  gate: Linear | NativeLinear | undefined,
): MlxArray {
  const { norm, layer: number, rope, post_norm, residual_factor } = parts;
  const [q, k, v, o] = alone;
  assert(q !== undefined && k !== undefined && v !== undefined && o !== undefined, "attention has four projections");
  using normed = norm === undefined ? null : normalize(x, norm);
  using queries = adapted(normed ?? x, q, step);
  using keys = adapted(normed ?? x, k, step);
  using values = adapted(normed ?? x, v, step);
  using projected = concatenate([queries, keys, values], 1);
  using mixed = mixAttention(layer, projected, step.cache(number), layoutOf(parts, step), step.angles(rope));
  using gated = gate === undefined ? null : throughGate(mixed, normed ?? x, gate, step);
  using out = adapted(gated ?? mixed, o, step);
  return close(out, residual, post_norm, residual_factor ?? 1);
}

function throughGate(attended: MlxArray, x: MlxArray, gate: Linear | NativeLinear, step: Step): MlxArray {
  using wanted = adapted(x, gate, step);
  using share = sigmoid(wanted);
  return multiply(attended, share);
}

function layoutOf({ window }: AttentionParts, step: Step): MlxArray {
  return window === undefined ? step.layout : step.slot_layout;
}

function compose(x: MlxArray, residual: MlxArray, parts: AttentionParts, step: Step): MlxArray {
  using normed = parts.norm === undefined ? null : normalize(x, parts.norm);
  using queries = adapted(normed ?? x, parts.q, step);
  using keys = adapted(normed ?? x, parts.k, step);
  using values = adapted(normed ?? x, parts.v, step);
  using normed_queries = normWhole(queries, parts.q_norm);
  using normed_keys = normWhole(keys, parts.k_norm);
  using stack = new DisposableStack();
  const all = { queries: normed_queries ?? queries, keys: normed_keys ?? keys, values };
  const mixed = step.spans.map((span) => stack.use(attendSpan(all, span, parts, step)));
  using joined = concatenate(mixed, 0);
  using gated = parts.gate === undefined ? null : throughGate(joined, normed ?? x, parts.gate, step);
  using projected = adapted(gated ?? joined, parts.o, step);
  return close(projected, residual, parts.post_norm, parts.residual_factor ?? 1);
}

/** One span's part: (count, heads · head_dim). */
function attendSpan(
  all: { readonly queries: MlxArray; readonly keys: MlxArray; readonly values: MlxArray },
  span: Span,
  parts: AttentionParts,
  step: Step,
): MlxArray {
  const { heads, kv_heads, head_dim, rope, scale, soft_cap, window } = parts;
  const cache = step.cache(parts.layer);
  using query_heads = headsOf(all.queries, span, heads, head_dim, parts.q_norm);
  using key_heads = headsOf(all.keys, span, kv_heads, head_dim, parts.k_norm);
  using new_values = headsOf(all.values, span, kv_heads, head_dim);
  using queries = rotate(query_heads, rope, span.start);
  using new_keys = rotate(key_heads, rope, span.start);
  const table = window === undefined ? span.blocks : (span.slots ?? span.blocks);
  write(cache, new_keys, new_values, { ...span, blocks: table });
  // What lies behind the window of the first token may be another sequence's by now.
  const hidden = Math.floor(Math.max(0, span.start + 1 - (window ?? span.start + 1)) / BLOCK_TOKENS);
  const seen = { count: span.start + span.count - hidden * BLOCK_TOKENS, blocks: table.slice(hidden) };
  using keys = read(cache.keys, seen, head_dim, [1, 0, 3, 2]);
  using values = read(cache.values, seen, head_dim, [1, 0, 2, 3]);
  const needs_mask = soft_cap !== undefined || (window !== undefined && span.start + span.count > window);
  using shown = needs_mask ? maskOf(step.window(span, window ?? span.start + span.count), seen.count) : null;
  const mask: Mask = shown ?? (span.count === 1 ? "none" : "causal");
  using mixed =
    soft_cap === undefined || shown === null
      ? attend(queries, keys, values, scale, mask, parts.sinks ?? null)
      : attendCapped(queries, keys, values, scale, soft_cap, shown);
  using by_position = transpose(mixed, [0, 2, 1, 3]);
  return reshape(by_position, [span.count, heads * head_dim]);
}

/** `x` (tokens, heads · head_dim) by a norm of all heads together; null where there is none or it is of each head. */
function normWhole(x: MlxArray, norm: Norm | undefined): MlxArray | null {
  return norm !== undefined && norm.weight.shape[0] === x.shape[1] ? normalize(x, norm) : null;
}

/** A span of (tokens, heads · head_dim) as (1, heads, count, head_dim). */
function headsOf(x: MlxArray, { first, count }: Span, heads: number, head_dim: number, norm?: Norm): MlxArray {
  using rows = slice(x, [first, 0], [first + count, heads * head_dim]);
  using split = reshape(rows, [1, count, heads, head_dim]);
  const of_each = norm !== undefined && norm.weight.shape[0] === head_dim && heads > 1;
  using normed = of_each ? normalize(split, norm) : null;
  return transpose(normed ?? split, [0, 2, 1, 3]);
}

/** Puts (1, kv_heads, count, head_dim) into the span's blocks. */
function write(cache: LayerCache, keys: MlxArray, values: MlxArray, span: Span): void {
  if (isPacked(cache.keys)) {
    cache.keys = writePacked(cache.keys, keys, span);
    cache.values = writePacked(cache.values, values, span);
  } else writeFloats(cache, keys, values, span);
  // Written now, in place: a read that waits beside a later write would make MLX copy the whole pool.
  evaluate(cache.keys, cache.values);
}

function writeFloats(cache: LayerCache, keys: MlxArray, values: MlxArray, { start, count, blocks }: Span): void {
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
}

/** Which of the last `count` positions each token sees. */
function maskOf(window: MlxArray, count: number): MlxArray {
  const [tokens = 0, positions = 0] = window.shape;
  return slice(window, [0, positions - count], [tokens, positions]);
}

/** The first `count` positions in these blocks: (1, kv_heads, count, head_dim); `axes` bring a block of floats to (kv_heads, 1, 32, head_dim). */
function read(
  pool: MlxArray,
  { count, blocks }: Pick<Span, "count" | "blocks">,
  head_dim: number,
  axes: readonly number[],
): MlxArray {
  using numbers = fromBytes(Int32Array.from(blocks), [blocks.length], "int32");
  using taken = take(pool, numbers, 0);
  using unpacked = isPacked(pool) ? unpackBlocks(taken, head_dim) : null;
  using ordered = unpacked === null ? transpose(taken, axes) : transpose(unpacked, [1, 0, 2, 3]);
  const [kv_heads = 0] = ordered.shape;
  using joined = reshape(ordered, [1, kv_heads, blocks.length * BLOCK_TOKENS, head_dim]);
  return slice(joined, [0, 0, 0, 0], [1, kv_heads, count, head_dim]);
}
