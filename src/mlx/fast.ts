/** The fused operations of mlx-c's fast.h. Knows no model. */

import { fromSlot, type MlxArray } from "./array.ts";
import { emptySlot, library } from "./library.ts";

const mask_modes = {
  array: new TextEncoder().encode("array\0"),
  causal: new TextEncoder().encode("causal\0"),
  none: new TextEncoder().encode("\0"),
} as const;

/** Over the last axis, with its mean taken off. */
export function layerNorm(x: MlxArray, weight: MlxArray, bias: MlxArray, epsilon: number): MlxArray {
  const { native, stream } = library();
  const code = native.mlx_fast_layer_norm(emptySlot(), x.handle, weight.handle, bias.handle, epsilon, stream);
  return fromSlot("mlx_fast_layer_norm", code);
}

export function rmsNorm(x: MlxArray, weight: MlxArray, epsilon: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_fast_rms_norm", native.mlx_fast_rms_norm(emptySlot(), x.handle, weight.handle, epsilon, stream));
}

/** Rotates the first `dims` of the last axis of `x` (…, length, head_dim) by `wavelengths` (dims / 2), from position `offset`. */
export function rope(x: MlxArray, dims: number, wavelengths: MlxArray, scale: number, offset: number): MlxArray {
  const { native, stream } = library();
  const no_base = 0n;
  return fromSlot(
    "mlx_fast_rope",
    native.mlx_fast_rope(emptySlot(), x.handle, dims, false, no_base, scale, offset, wavelengths.handle, stream),
  );
}

/**
 * `queries` (batch, heads, length, head_dim) over `keys` and `values` (batch, kv_heads, total, head_dim).
 * A mask that is an array tells by true or false, of a shape that broadcasts to (batch, heads, length, total), what is seen.
 */
export function attend(
  queries: MlxArray,
  keys: MlxArray,
  values: MlxArray,
  scale: number,
  mask: keyof typeof mask_modes | MlxArray,
): MlxArray {
  const { native, stream } = library();
  const [mode, seen] = typeof mask === "string" ? [mask_modes[mask], null] : [mask_modes.array, mask.handle];
  return fromSlot(
    "mlx_fast_scaled_dot_product_attention",
    native.mlx_fast_scaled_dot_product_attention(
      emptySlot(),
      queries.handle,
      keys.handle,
      values.handle,
      scale,
      mode,
      seen,
      null,
      stream,
    ),
  );
}
