/** Quantised rows turned back to floats, as an operation of MLX. */

#pragma once

#include <optional>

#include "matmul.h"

namespace bunsen {

/**
 * `w` (…, columns * bits / 32) with `scales` and `biases` (…, columns / group_size): (…, columns) in `dtype`, computed
 * in float32. Nothing where there is no kernel for it.
 */
std::optional<mx::array> dequantize(
    const mx::array& w,
    const mx::array& scales,
    const mx::array& biases,
    const AffineForm& form,
    mx::Dtype dtype,
    mx::Stream stream);

} // namespace bunsen
