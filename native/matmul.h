/** Products for float32 activations on the CPU, in place of MLX's own, which have no vector code on x86. */

#pragma once

#include <optional>
#include <vector>

#include "kernels.h"
#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

struct GroupForm {
  int group_size;
  int bits;
};

/** Weights as MLX quantises them: `biases` in affine groups; mxfp4, mxfp8 and nvfp4 have scales of one byte and none. */
struct GroupedWeights {
  mx::array w;
  mx::array scales;
  std::optional<mx::array> biases;

  /** What an operation takes as its inputs, each in rows. */
  std::vector<mx::array> inputs(mx::Stream stream) const;
};

/**
 * Whether `w` (…, rows, columns * bits / 32) with `scales` and `biases` (…, rows, columns / group_size) of one dtype is
 * in one of MLX's forms that the kernels read.
 */
bool isGrouped(const GroupedWeights& weights, const GroupForm& form, int columns);

/** The same from what `inputs` gave, once all are computed: one matrix of all rows. `biases` is null where there are none. */
Matrix groupedMatrix(const mx::array& w, const mx::array& scales, const mx::array* biases, const GroupForm& form);

/** `w` (rows, columns) of any float dtype, with one of its strides 1. */
Matrix denseMatrix(const mx::array& w);

/** x (…, columns) by the transpose of a quantised matrix: (…, rows). Nothing where there is no kernel for it. */
std::optional<mx::array> groupedProduct(
    const mx::array& x, const GroupedWeights& weights, const GroupForm& form, mx::Stream stream);

/** a (…, columns) in float32 by b (columns, rows) in any float dtype: (…, rows). Nothing where there is no kernel for it. */
std::optional<mx::array> denseProduct(const mx::array& a, const mx::array& b, mx::Stream stream);

} // namespace bunsen
