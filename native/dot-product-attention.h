/** Scaled dot product attention as an operation of MLX. */

#pragma once

#include <optional>
#include <string_view>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

struct AttentionForm {
  float scale;
  /** As in MLX: "causal", "array" or "". */
  std::string_view mask_mode;
};

/**
 * `queries` (batch, heads, length, dims) in float32 over `keys` and `values` (batch, kv_heads, total, …) in any float
 * dtype; `mask` of booleans or floats broadcasts to (batch, heads, length, total); `sinks` (heads). Nothing where there
 * is no kernel for it.
 */
std::optional<mx::array> dotProductAttention(
    const mx::array& queries,
    const mx::array& keys,
    const mx::array& values,
    const AttentionForm& form,
    const std::optional<mx::array>& mask,
    const std::optional<mx::array>& sinks,
    mx::Stream stream);

} // namespace bunsen
