/** The fused operations of mlx-c's fast.h. Knows no model. */

import { fromSlot, type MlxArray } from "./array.ts";
import { emptySlot, library } from "./library.ts";

const mask_modes = {
  causal: new TextEncoder().encode("causal\0"),
  none: new TextEncoder().encode("\0"),
} as const;

/** How positions become angles: one base for all, or a wavelength for each pair of dimensions. */
export type RopeFrequencies =
  | { readonly kind: "base"; readonly base: number }
  | { readonly kind: "wavelengths"; readonly wavelengths: MlxArray };

export function rmsNorm(x: MlxArray, weight: MlxArray, epsilon: number): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_fast_rms_norm", native.mlx_fast_rms_norm(emptySlot(), x.handle, weight.handle, epsilon, stream));
}

/** Rotates the first `dims` of the last axis of `x` (…, length, head_dim); the first position is `offset`. */
export function rope(x: MlxArray, dims: number, frequencies: RopeFrequencies, scale: number, offset: number): MlxArray {
  const { native, stream } = library();
  const base = frequencies.kind === "base" ? presentFloat(frequencies.base) : 0n;
  const wavelengths = frequencies.kind === "base" ? null : frequencies.wavelengths.handle;
  return fromSlot(
    "mlx_fast_rope",
    native.mlx_fast_rope(emptySlot(), x.handle, dims, false, base, scale, offset, wavelengths, stream),
  );
}

/** `queries` (1, heads, length, head_dim) over `keys` and `values` (1, kv_heads, total, head_dim). */
export function attend(
  queries: MlxArray,
  keys: MlxArray,
  values: MlxArray,
  scale: number,
  mask: keyof typeof mask_modes,
): MlxArray {
  const { native, stream } = library();
  return fromSlot(
    "mlx_fast_scaled_dot_product_attention",
    native.mlx_fast_scaled_dot_product_attention(
      emptySlot(),
      queries.handle,
      keys.handle,
      values.handle,
      scale,
      mask_modes[mask],
      null,
      null,
      stream,
    ),
  );
}

/** `mlx_optional_float`: the bits of the value in the low half, the flag above them. */
function presentFloat(value: number): bigint {
  return BigInt(new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0) | (1n << 32n);
}
