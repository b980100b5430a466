/** Quantised rows turned back to floats, as an operation of MLX. */

#pragma once

#include <optional>

#include "matmul.h"

namespace bunsen {

/** `weights` (…, columns * bits / 32) as (…, columns) in `dtype`, computed in float32. Nothing where there is no kernel for it. */
std::optional<mx::array> dequantize(
    const GroupedWeights& weights, const GroupForm& form, mx::Dtype dtype, mx::Stream stream);

} // namespace bunsen
