/** The operations that take one row at a time. Nothing is returned where there is no kernel. */

#pragma once

#include <optional>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

std::optional<mx::array> rmsNorm(
    const mx::array& x, const std::optional<mx::array>& weight, float epsilon, mx::Stream stream);

std::optional<mx::array> layerNorm(
    const mx::array& x,
    const std::optional<mx::array>& weight,
    const std::optional<mx::array>& bias,
    float epsilon,
    mx::Stream stream);

/** Along the last axis only. */
std::optional<mx::array> softmax(const mx::array& x, int axis, mx::Stream stream);

std::optional<mx::array> sigmoid(const mx::array& x, mx::Stream stream);

} // namespace bunsen
