/** The fused operations of mlx-c's fast.h. Knows no model. */

import { fromSlot, type MlxArray } from "./array.ts";
import { emptySlot, library } from "./library.ts";

const mask_modes = {
  array: new TextEncoder().encode("array\0"),
  causal: new TextEncoder().encode("causal\0"),
  none: new TextEncoder().encode("\0"),
} as const;

export function rmsNorm(x: MlxArray, weight: MlxArray, epsilon: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_fast_rms_norm", native.mlx_fast_rms_norm(emptySlot(), x.handle, weight.handle, epsilon, stream));
}

/** `bias` is added where there is one. */
export function layerNorm(x: MlxArray, weight: MlxArray, bias: MlxArray | null, epsilon: number): MlxArray {
  const { native, stream } = library();
  const given = bias?.handle ?? null;
  return fromSlot(
    "mlx_fast_layer_norm",
    native.mlx_fast_layer_norm(emptySlot(), x.handle, weight.handle, given, epsilon, stream),
  );
}

/**
 * Rotates the first `dims` of the last axis of `x` (…, length, head_dim) by `wavelengths` (dims / 2), from position
 * `offset`; in pairs of neighbours, or of the first half and the second.
 */
export function rope(
  x: MlxArray,
  dims: number,
  neighbours: boolean,
  wavelengths: MlxArray,
  scale: number,
  offset: number,
): MlxArray {
  const { native, stream } = library();
  const no_base = 0n;
  return fromSlot(
    "mlx_fast_rope",
    native.mlx_fast_rope(emptySlot(), x.handle, dims, neighbours, no_base, scale, offset, wavelengths.handle, stream),
  );
}

/** What a query may see: every key, those up to its own place, or what a mask of bools says. */
export type Mask = "none" | "causal" | MlxArray;

/**
 * `queries` (batch, heads, length, head_dim) over `keys` and `values` (batch, kv_heads, total, head_dim); `sinks` (heads).
 * A mask that is an array is of a shape that broadcasts to (batch, heads, length, total).
 */
export function attend(
  queries: MlxArray,
  keys: MlxArray,
  values: MlxArray,
  scale: number,
  mask: Mask,
  sinks: MlxArray | null = null,
): MlxArray {
  const { native, stream } = library();
  const [mode, array] = typeof mask === "string" ? [mask_modes[mask], null] : [mask_modes.array, mask.handle];
  return fromSlot(
    "mlx_fast_scaled_dot_product_attention",
    native.mlx_fast_scaled_dot_product_attention(
      emptySlot(),
      queries.handle,
      keys.handle,
      values.handle,
      scale,
      mode,
      array,
      sinks?.handle ?? null,
      stream,
    ),
  );
}
