/** fast.h: the fused operations of a transformer. */

#include "mlx/fast.h"

#include "dot-product-attention.h"
#include "forward.h"
#include "norm.h"
#include "primitive.h"
#include "rope.h"

using namespace mlxc;

namespace {

/** Nothing unless there is exactly one of base and wavelengths; MLX says what is wrong with the others. */
std::optional<bunsen::RopeForm> ropeForm(
    int dims, bool traditional, mlx_optional_float base, float scale, mlx_array wavelengths) {
  if (base.has_value == (wavelengths.ctx != nullptr)) return std::nullopt;
  return bunsen::RopeForm{dims, traditional, scale, base.has_value ? base.value : 1};
}

} // namespace

int mlx_fast_layer_norm(
    mlx_array* res, const mlx_array x, const mlx_array weight, const mlx_array bias, float eps, const mlx_stream s) {
  return forward(res, [&] {
    if (auto normed = bunsen::layerNorm(get(x), optional(weight), optional(bias), eps, get(s))) return *normed;
    bunsen::countFallback("fast_layer_norm");
    return mx::fast::layer_norm(get(x), optional(weight), optional(bias), eps, get(s));
  });
}

int mlx_fast_rms_norm(mlx_array* res, const mlx_array x, const mlx_array weight, float eps, const mlx_stream s) {
  return forward(res, [&] {
    if (auto normed = bunsen::rmsNorm(get(x), optional(weight), eps, get(s))) return *normed;
    bunsen::countFallback("fast_rms_norm");
    return mx::fast::rms_norm(get(x), optional(weight), eps, get(s));
  });
}

int mlx_fast_rope(
    mlx_array* res, const mlx_array x, int dims, bool traditional, mlx_optional_float base, float scale, int offset,
    const mlx_array freqs, const mlx_stream s) {
  return forward(res, [&] {
    if (const auto form = ropeForm(dims, traditional, base, scale, freqs)) {
      if (auto turned = bunsen::rope(get(x), *form, offset, optional(freqs), get(s))) return *turned;
    }
    bunsen::countFallback("fast_rope");
    return mx::fast::rope(get(x), dims, traditional, optional(base), scale, offset, optional(freqs), get(s));
  });
}

int mlx_fast_rope_dynamic(
    mlx_array* res, const mlx_array x, int dims, bool traditional, mlx_optional_float base, float scale,
    const mlx_array offset, const mlx_array freqs, const mlx_stream s) {
  return forward(res, [&] {
    if (const auto form = ropeForm(dims, traditional, base, scale, freqs)) {
      if (auto turned = bunsen::rope(get(x), *form, get(offset), optional(freqs), get(s))) return *turned;
    }
    bunsen::countFallback("fast_rope_dynamic");
    return mx::fast::rope(get(x), dims, traditional, optional(base), scale, get(offset), optional(freqs), get(s));
  });
}

int mlx_fast_scaled_dot_product_attention(
    mlx_array* res, const mlx_array queries, const mlx_array keys, const mlx_array values, float scale,
    const char* mask_mode, const mlx_array mask_arr, const mlx_array sinks, const mlx_stream s) {
  const bool force_fused = false; // not in the ABI; this is MLX's default
  return forward(res, [&] {
    auto mixed = bunsen::dotProductAttention(
        get(queries), get(keys), get(values), {scale, mask_mode}, optional(mask_arr), optional(sinks), get(s));
    if (mixed) return *mixed;
    bunsen::countFallback("fast_scaled_dot_product_attention");
    return mx::fast::scaled_dot_product_attention(
        get(queries), get(keys), get(values), scale, mask_mode, optional(mask_arr), optional(sinks), force_fused,
        get(s));
  });
}
