/** The greatest of long rows: argmax, sort and top-k along the last axis. Nothing is returned where there is no kernel. */

#pragma once

#include <optional>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace bunsen {

namespace mx = mlx::core;

std::optional<mx::array> argmax(const mx::array& x, int axis, bool keeps_axis, mx::Stream stream);

/** Ascending, NaN last. */
std::optional<mx::array> sort(const mx::array& x, int axis, mx::Stream stream);

/** The `k` greatest in no order; NaN is greater than all. */
std::optional<mx::array> topk(const mx::array& x, int k, int axis, mx::Stream stream);

} // namespace bunsen
