/** Products for float32 activations on the CPU, in place of MLX's own, which have no vector code on x86. */

#pragma once

#include <optional>

#include "kernels.h"
#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

struct AffineForm {
  int group_size;
  int bits;
};

/**
 * Whether `w` (…, rows, columns * bits / 32) with `scales` and `biases` (…, rows, columns / group_size) of one dtype is
 * in MLX's affine form that the kernels read.
 */
bool isAffine(const mx::array& w, const mx::array& scales, const mx::array& biases, const AffineForm& form, int columns);

/** The same, once all three are computed and lie in rows: one matrix of all rows. */
Matrix affineMatrix(const mx::array& w, const mx::array& scales, const mx::array& biases, const AffineForm& form);

/** `w` (rows, columns) of any float dtype, with one of its strides 1. */
Matrix denseMatrix(const mx::array& w);

/** x (…, columns) by the transpose of an affine matrix: (…, rows). Nothing where there is no kernel for it. */
std::optional<mx::array> affineProduct(
    const mx::array& x,
    const mx::array& w,
    const mx::array& scales,
    const mx::array& biases,
    const AffineForm& form,
    mx::Stream stream);

/** a (…, columns) in float32 by b (columns, rows) in any float dtype: (…, rows). Nothing where there is no kernel for it. */
std::optional<mx::array> denseProduct(const mx::array& a, const mx::array& b, mx::Stream stream);

} // namespace bunsen
