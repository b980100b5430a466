/** Quantised products for float32 activations on the CPU, in place of MLX's own, which have no vector code on x86. */

#pragma once

#include <optional>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

struct AffineForm {
  int group_size;
  int bits;
  bool transpose;
};

/**
 * x (…, columns) by the transpose of the affine matrix (rows, columns): (…, rows), float32.
 * Nothing where this machine or this form has no kernel: MLX's own operation has to do, and to complain.
 */
std::optional<mlx::core::array> affineProduct(
    const mlx::core::array& x,
    const mlx::core::array& w,
    const mlx::core::array& scales,
    const mlx::core::array& biases,
    const AffineForm& form,
    mlx::core::Stream stream);

} // namespace bunsen
